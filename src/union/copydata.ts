/** The bytes of a file: shared where the filesystem can, else copied by the kernel, else by us; holes stay holes. */

import {
  EBADF,
  EINTR,
  EINVAL,
  EIO,
  ENOSYS,
  ENOTTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ETXTBSY,
  EXDEV,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
} from '../abi/linux.js'
import { clone, copyFileRange, ftruncate, lseek, pread, pwrite } from '../sys/file.js'
import type { Result } from '../vfs.js'

const CHUNK_BYTES = 1024 * 1024
const MAX_RANGE_BYTES = 0x40000000

/** Errors of a faster way that mean "not between these two files", so that the next way is tried. */
const NOT_HERE: ReadonlySet<Result> = new Set([
  -EOPNOTSUPP,
  -EXDEV,
  -EINVAL,
  -ENOTTY,
  -ENOSYS,
  -EPERM,
  -ETXTBSY,
  -EBADF,
])

/** Pairs of filesystems are few: remembers that FICLONE does not work, to ask no more than once in a while. */
let cloneRefusals = 0
const MAX_REFUSALS = 8

let chunk: Buffer | undefined

/**
 * Gives the file `to` the content of `from`.
 *
 * @param size bytes of `from`; where it proves shorter, the copy is too
 * @param dense `from` has no holes
 * @param done bytes that `to` has already; 0: it is empty
 */
export function copyData(from: number, to: number, size: number, dense = false, done = 0): Result {
  if (done > 0) return copyRange(from, to, done, size)
  const cloned = share(from, to)
  if (cloned !== undefined) return cloned
  return dense ? copyDense(from, to, size) : copyBytes(from, to, size)
}

/** Has the two files share their content. @returns undefined where they cannot */
function share(from: number, to: number): Result | undefined {
  if (cloneRefusals >= MAX_REFUSALS) return undefined
  const r = clone(from, to)
  if (r === 0 || !NOT_HERE.has(r)) return r
  cloneRefusals++
  return undefined
}

/** What `copyWhile` copies in between two looks at whether it may go on. */
const PIECE_BYTES = 2 * 1024 * 1024
/** A piece that took longer is the disk's doing, milliseconds. */
const LONG_MS = 2

/**
 * Does what it can of `copyData` for a file without holes while `alone` holds and nothing takes long.
 *
 * @returns how many bytes `to` has
 */
export function copyWhile(alone: () => boolean, from: number, to: number, size: number): Result {
  const cloned = share(from, to)
  if (cloned !== undefined) return cloned < 0 ? cloned : size
  let at = 0
  for (let quick = true; at < size && quick && alone(); ) {
    const began = performance.now()
    const end = Math.min(at + PIECE_BYTES, size)
    const r = copyRange(from, to, at, end)
    if (r < 0) return r
    at = end
    quick = performance.now() - began < LONG_MS
  }
  return at
}

/** The same, the two files sharing nothing. */
export function copyBytes(from: number, to: number, size: number): Result {
  let r = ftruncate(to, size)
  for (let at = 0; r >= 0 && at < size; ) {
    const data = lseek(from, at, SEEK_DATA)
    if (data === -ENXIO) break
    const start = data >= 0 ? data : at
    const hole = data >= 0 ? lseek(from, start, SEEK_HOLE) : size
    const end = hole > start ? Math.min(hole, size) : size
    r = copyRange(from, to, start, end)
    at = end
  }
  return r
}

/** What is copied faster through memory than by copy_file_range(2), which sets up a pipe in the kernel each time. */
const SMALL_BYTES = 128 * 1024

const copyDense = (from: number, to: number, size: number): Result =>
  size <= SMALL_BYTES ? copyThrough(from, to, 0, size) : copyRange(from, to, 0, size)

function copyRange(from: number, to: number, start: number, end: number): Result {
  let at = start
  while (at < end) {
    const n = copyFileRange(from, at, to, at, Math.min(end - at, MAX_RANGE_BYTES))
    if (n === -EINTR) continue
    if (n < 0) return NOT_HERE.has(n) ? copyThrough(from, to, at, end) : n
    // The source ends early, or (as some kernels do for files of /proc) it only claims to.
    if (n === 0) return copyThrough(from, to, at, end)
    at += n
  }
  return 0
}

function copyThrough(from: number, to: number, start: number, end: number): Result {
  chunk ??= Buffer.alloc(CHUNK_BYTES)
  for (let at = start; at < end; ) {
    const n = pread(from, chunk.subarray(0, Math.min(CHUNK_BYTES, end - at)), at)
    if (n < 0) return n
    if (n === 0) return lseek(to, 0, SEEK_END) > at ? ftruncate(to, at) : 0
    for (let done = 0; done < n; ) {
      const w = pwrite(to, chunk.subarray(done, n), at + done)
      if (w < 0) return w
      if (w === 0) return -EIO
      done += w
    }
    at += n
  }
  return 0
}
