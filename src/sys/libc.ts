/**
 * libc through koffi: the one place that loads it. Every wrapper in this folder returns `>= 0`, or `-errno` with
 * the sign the kernel would have given it. Names and paths are bytes (latin1 strings).
 */

import { promisify } from 'node:util'
import koffi from 'koffi'

const lib = koffi.load('libc.so.6')

type NativeFunction = (...args: (number | Buffer | null)[]) => number

/** Binds a libc function by its C prototype; pointers are `void *` and take Buffers. */
export const bind = (prototype: string): NativeFunction => lib.func(prototype) as unknown as NativeFunction

/** The same on a thread of libuv's pool: for calls that wait, and whose errno does not matter. */
export const bindAsync = (prototype: string): ((...args: number[]) => Promise<number>) =>
  promisify(lib.func(prototype).async) as unknown as (...args: number[]) => Promise<number>

/** The errno of this thread's last failed call. */
export const errno = (): number => koffi.errno()

/** Turns libc's -1 into -errno. */
export const result = (r: number): number => (r < 0 ? -koffi.errno() : r)

/** Where `cstr` puts strings: calls with two paths use two slots. A path longer than a slot cannot be passed at once. */
const SLOT_BYTES = 8192
const slots = [Buffer.alloc(SLOT_BYTES), Buffer.alloc(SLOT_BYTES), Buffer.alloc(SLOT_BYTES)] as const

/**
 * Encodes a byte string, NUL-ended, in a reused buffer that is good until the next `cstr` into the same slot.
 * Strings that do not fit become one of PATH_MAX bytes more than the kernel takes, so that it answers ENAMETOOLONG.
 */
export function cstr(s: string, slot: 0 | 1 | 2 = 0): Buffer {
  const b = slots[slot]
  const n = s.length
  if (n > 24) {
    const written = b.write(s, 0, SLOT_BYTES - 1, 'latin1')
    b[written] = 0
    return b
  }
  for (let i = 0; i < n; i++) b[i] = s.charCodeAt(i)
  b[n] = 0
  return b
}

/** Text of the command line or of an option as a byte string: UTF-8 bytes, one char each. */
export const bytesOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

/** A byte string as text for messages; bytes that are not UTF-8 become U+FFFD. */
export const textOf = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8')

const syscall5 = bind('long syscall(long, long, void *, long, long)')
const openat2Call = bind('long syscall(long, long, void *, void *, long)')

const listxattratCall = bind('long syscall(long, long, const void *, long, void *, size_t)')

const SYS_OPENAT2 = 437
const SYS_FCHMODAT2 = 452
const SYS_LISTXATTRAT = 465

/** openat2(2): `how` is 24 bytes: flags, mode, resolve. */
export const openat2 = (dirfd: number, path: Buffer, how: Buffer): number =>
  result(openat2Call(SYS_OPENAT2, dirfd, path, how, how.length))

/** fchmodat2(2), since Linux 6.6. */
export const fchmodat2 = (dirfd: number, path: Buffer, mode: number, flags: number): number =>
  result(syscall5(SYS_FCHMODAT2, dirfd, path, mode, flags))

/** listxattrat(2), since Linux 6.13. @returns the size of the list of NUL-ended names */
export const listxattrat = (dirfd: number, path: Buffer, flags: number, dst: Buffer): number =>
  result(listxattratCall(SYS_LISTXATTRAT, dirfd, path, flags, dst, dst.length))
