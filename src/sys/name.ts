/** Names in directories: mkdirat(2), renameat2(2), linkat(2) and their kin, and getdents64(2). */

import { AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, ENOENT, EPERM } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { bind, cstr, result } from './libc.js'

const c = {
  mkdirat: bind('int mkdirat(int, const void *, uint32_t)'),
  mknodat: bind('int mknodat(int, const void *, uint32_t, uint64_t)'),
  symlinkat: bind('int symlinkat(const void *, int, const void *)'),
  linkat: bind('int linkat(int, const void *, int, const void *, int)'),
  unlinkat: bind('int unlinkat(int, const void *, int)'),
  renameat2: bind('int renameat2(int, const void *, int, const void *, uint32_t)'),
  readlinkat: bind('long readlinkat(int, const void *, void *, size_t)'),
  getdents64: bind('long getdents64(int, void *, size_t)'),
  umask: bind('uint32_t umask(uint32_t)'),
}

export const mkdirAt = (dirfd: number, name: string, mode: number): Result =>
  result(c.mkdirat(dirfd, cstr(name), mode))

/** mknodat(2). @param rdev in new_encode_dev packing, as FUSE carries it; for numbers below 2^12 and 2^8 makedev(3) agrees */
export const mknodAt = (dirfd: number, name: string, mode: number, rdev: number): Result =>
  result(c.mknodat(dirfd, cstr(name), mode, rdev))

export const symlinkAt = (target: string, dirfd: number, name: string): Result =>
  result(c.symlinkat(cstr(target, 1), dirfd, cstr(name)))

/** linkat(2), the source a name that is not followed. */
export const linkAt = (fromDir: number, from: string, toDir: number, to: string): Result =>
  result(c.linkat(fromDir, cstr(from), toDir, cstr(to, 1), 0))

/** `linkAt` by the same NUL-ended name on both sides. */
export const linkNames = (fromDir: number, name: Buffer, toDir: number): Result =>
  result(c.linkat(fromDir, name, toDir, name, 0))

/** Gives an open file a name: linkat(2) with AT_EMPTY_PATH, which needs CAP_DAC_READ_SEARCH, else through /proc. */
export function linkFd(fd: number, toDir: number, to: string): Result {
  const r = result(c.linkat(fd, cstr(''), toDir, cstr(to, 1), AT_EMPTY_PATH))
  if (r !== -ENOENT && r !== -EPERM) return r
  return result(c.linkat(AT_FDCWD, cstr(`/proc/self/fd/${fd}`), toDir, cstr(to, 1), AT_SYMLINK_FOLLOW))
}

export const unlinkAt = (dirfd: number, name: string): Result => result(c.unlinkat(dirfd, cstr(name), 0))
export const rmdirAt = (dirfd: number, name: string): Result =>
  result(c.unlinkat(dirfd, cstr(name), AT_REMOVEDIR))

/** renameat2(2). @param flags RENAME_* */
export const renameAt = (fromDir: number, from: string, toDir: number, to: string, flags = 0): Result =>
  result(c.renameat2(fromDir, cstr(from), toDir, cstr(to, 1), flags))

/** readlinkat(2). @param name empty: `dirfd` is an O_PATH descriptor of the symlink. @returns the target's length */
export const readlinkAt = (dirfd: number, name: string, dst: Buffer): Result =>
  result(c.readlinkat(dirfd, cstr(name), dst, dst.length))

/** Sets this process's file mode creation mask. @returns the one before */
export const umask = (mask: number): number => c.umask(mask)

const dents = Buffer.alloc(65536)
/** More than most entries take. */
const DENT_BYTES = 64

/**
 * Calls `each` for every entry of an open directory from its current position, `.` and `..` left out.
 *
 * @param each name, inode number, d_type (DT_UNKNOWN where the filesystem keeps none); false ends the listing
 * @param few how many entries to ask the kernel for at a time, about, where not many are wanted
 */
export function listDir(
  fd: number,
  each: (name: string, ino: number, dtype: number) => unknown,
  few = Number.POSITIVE_INFINITY,
): Result {
  const bytes = Math.min(dents.length, (few + 8) * DENT_BYTES)
  for (;;) {
    const n = c.getdents64(fd, dents, bytes)
    if (n < 0) return result(n)
    if (n === 0) return 0
    for (let at = 0; at < n; ) {
      const length = dents.readUInt16LE(at + 16)
      const dtype = dents.readUInt8(at + 18)
      const start = at + 19
      let end = start
      while (dents[end] !== 0) end++
      const isDot =
        dents[start] === 0x2e && (end - start === 1 || (end - start === 2 && dents[start + 1] === 0x2e))
      at += length
      if (isDot) continue
      const name = dents.toString('latin1', start, end)
      const entry = start - 19
      const ino = dents.readUInt32LE(entry) + dents.readUInt32LE(entry + 4) * 0x100000000
      if (each(name, ino, dtype) === false) return 0
    }
  }
}
