/** Attributes in the binding's packing: arrays of 32-bit numbers, times in milliseconds. */
import type { Attr, StatFs } from '../vfs.js'

/** Numbers in the binding's `struct stat`. */
export const STAT_INTS = 18
/** Numbers in the binding's `struct statvfs`. */
export const STATVFS_INTS = 11

const MODE = 0
const UID = 1
const GID = 2
const SIZE = 3
const NLINK = 6
const INO = 7
const RDEV = 8
const BLKSIZE = 9
const BLOCKS = 10
const ATIME = 12
const MTIME = 14
const CTIME = 16

const WORD = 2 ** 32

/**
 * A 32-bit inode number that is the same for all names of a file, and after a remount. Numbers beyond 32 bits are
 * hashed, so two files may share one.
 */
export function foldIno(ino: number): number {
  const high = Math.floor(ino / WORD)
  if (high === 0) return ino
  return (Math.imul(high, 0x9e3779b1) ^ (ino % WORD)) >>> 0 || 1
}

/** Fills `ints` with what stat(2) tells. Times before 1970 show as 1970. */
export function packStat(attr: Attr, ints: Uint32Array): void {
  ints[MODE] = attr.mode
  ints[UID] = attr.uid
  ints[GID] = attr.gid
  put(ints, SIZE, attr.size)
  ints[NLINK] = attr.nlink
  ints[INO] = foldIno(attr.ino)
  ints[RDEV] = attr.rdev
  ints[BLKSIZE] = attr.blksize
  put(ints, BLOCKS, attr.blocks)
  put(ints, ATIME, millis(attr.atime, attr.atimeNs))
  put(ints, MTIME, millis(attr.mtime, attr.mtimeNs))
  put(ints, CTIME, millis(attr.ctime, attr.ctimeNs))
}

/** What a directory listing carries of an entry: its inode number and type. */
export function packEntry(ino: number, dtype: number): Uint32Array {
  const ints = new Uint32Array(STAT_INTS)
  ints[INO] = foldIno(ino)
  ints[MODE] = dtype << 12
  return ints
}

/** Fills `ints` with what statvfs(3) tells, in larger units where a count would not fit 32 bits. */
export function packStatFs(stat: StatFs, ints: Uint32Array): void {
  let scale = 1
  while (stat.blocks / scale >= WORD) scale *= 2
  ints[0] = stat.bsize * scale
  ints[1] = stat.frsize * scale
  ints[2] = stat.blocks / scale
  ints[3] = stat.bfree / scale
  ints[4] = stat.bavail / scale
  ints[5] = Math.min(stat.files, WORD - 1)
  ints[6] = Math.min(stat.ffree, WORD - 1)
  ints[7] = Math.min(stat.ffree, WORD - 1)
  ints[10] = stat.namelen
}

function put(ints: Uint32Array, at: number, value: number): void {
  ints[at] = value % WORD
  ints[at + 1] = value / WORD
}

const millis = (seconds: number, nanos: number): number =>
  Math.max(0, seconds * 1000 + Math.floor(nanos / 1_000_000))
