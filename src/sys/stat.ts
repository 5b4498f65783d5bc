/** Attributes of files: statx(2), chown(2), chmod(2), utimensat(2), statfs(2). */

import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, ENOSYS, O_NOFOLLOW, O_PATH } from '../abi/linux.js'
import type { Attr, Result, StatFs } from '../vfs.js'
import { close, open } from './file.js'
import { bind, cstr, fchmodat2, result } from './libc.js'

const c = {
  statx: bind('int statx(int, const void *, int, uint32_t, void *)'),
  fchownat: bind('int fchownat(int, const void *, uint32_t, uint32_t, int)'),
  fchmod: bind('int fchmod(int, uint32_t)'),
  chmod: bind('int chmod(const void *, uint32_t)'),
  utimensat: bind('int utimensat(int, const void *, const void *, int)'),
  futimens: bind('int futimens(int, const void *)'),
  fstatfs: bind('int fstatfs64(int, void *)'),
}

/** Basic fields and the birth time. */
const STATX_BASIC_AND_BTIME = 0xfff
const STATX_MODE = 2
const AT_STATX_DONT_SYNC = 0x4000

const buffer = Buffer.alloc(256)
const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length)

/** An unsigned 64-bit field as a number; exact below 2^53. */
const u64 = (at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x100000000
const s64 = (at: number): number => view.getUint32(at, true) + view.getInt32(at + 4, true) * 0x100000000

/** Offsets in struct statx: linux/stat.h. */
const STX = {
  blksize: 4,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdevMajor: 128,
  rdevMinor: 132,
  devMajor: 136,
  devMinor: 140,
} as const

const AT_STATX_FORCE_SYNC = 0x2000
const asked = Buffer.alloc(256)

/** Asks the server of a file, or whoever serves its filesystem, for its mode: statx(2). Blocks until there is an answer. */
export const askServer = (fd: number): Result =>
  result(c.statx(fd, cstr(''), AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_MODE, asked))

/** Packs a device number as the kernel's new_encode_dev: what mknod(2) and FUSE carry. */
export const makedev = (major: number, minor: number): number =>
  ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0

/**
 * statx(2) into `out`, never following a symlink at the end.
 *
 * @param path relative to `dirfd`; empty: `dirfd` itself
 */
export function statAt(dirfd: number, path: string, out: Attr): Result {
  const flags =
    path.length === 0 ? AT_EMPTY_PATH | AT_STATX_DONT_SYNC : AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC
  const r = c.statx(dirfd, cstr(path), flags, STATX_BASIC_AND_BTIME, buffer)
  if (r < 0) return result(r)
  out.dev = view.getUint32(STX.devMajor, true) * 0x100000 + view.getUint32(STX.devMinor, true)
  out.ino = u64(STX.ino)
  out.mode = view.getUint16(STX.mode, true)
  out.nlink = view.getUint32(STX.nlink, true)
  out.uid = view.getUint32(STX.uid, true)
  out.gid = view.getUint32(STX.gid, true)
  out.rdev = makedev(view.getUint32(STX.rdevMajor, true), view.getUint32(STX.rdevMinor, true))
  out.size = u64(STX.size)
  out.blocks = u64(STX.blocks)
  out.blksize = view.getUint32(STX.blksize, true)
  out.atime = s64(STX.atime)
  out.atimeNs = view.getUint32(STX.atime + 8, true)
  out.mtime = s64(STX.mtime)
  out.mtimeNs = view.getUint32(STX.mtime + 8, true)
  out.ctime = s64(STX.ctime)
  out.ctimeNs = view.getUint32(STX.ctime + 8, true)
  out.btime = s64(STX.btime)
  out.btimeNs = view.getUint32(STX.btime + 8, true)
  return 0
}

/** statx(2) of an open descriptor, O_PATH ones too. */
export const stat = (fd: number, out: Attr): Result => statAt(fd, '', out)

const KEEP_ID = 0xffffffff

/** fchownat(2) without following. @param path empty: `dirfd` itself. @param uid undefined: keep */
export const chownAt = (
  dirfd: number,
  path: string,
  uid: number | undefined,
  gid: number | undefined,
): Result =>
  result(
    c.fchownat(
      dirfd,
      cstr(path),
      uid ?? KEEP_ID,
      gid ?? KEEP_ID,
      path.length === 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW,
    ),
  )

export const fchmod = (fd: number, mode: number): Result => result(c.fchmod(fd, mode))

/** chmod(2) of what an O_PATH descriptor refers to, through /proc. */
export const chmodPath = (fd: number, mode: number): Result =>
  result(c.chmod(cstr(`/proc/self/fd/${fd}`), mode))

let haveFchmodat2 = true

/** Sets the mode of a file in a directory without following a symlink: fchmodat2(2), or an O_PATH descriptor before Linux 6.6. */
export function chmodAt(dirfd: number, path: string, mode: number): Result {
  if (haveFchmodat2) {
    const r = fchmodat2(dirfd, cstr(path), mode, AT_SYMLINK_NOFOLLOW)
    if (r !== -ENOSYS) return r
    haveFchmodat2 = false
  }
  const fd = open(dirfd, path, O_PATH | O_NOFOLLOW)
  if (fd < 0) return fd
  const r = chmodPath(fd, mode)
  close(fd)
  return r
}

const times = Buffer.alloc(32)

function setTimes(atime: number, atimeNs: number, mtime: number, mtimeNs: number): void {
  times.writeBigInt64LE(BigInt(atime), 0)
  times.writeBigInt64LE(BigInt(atimeNs), 8)
  times.writeBigInt64LE(BigInt(mtime), 16)
  times.writeBigInt64LE(BigInt(mtimeNs), 24)
}

/** utimensat(2) without following. Nanoseconds may be UTIME_NOW or UTIME_OMIT. @param path empty: `dirfd` itself, which may not be O_PATH */
export function utimensAt(
  dirfd: number,
  path: string,
  atime: number,
  atimeNs: number,
  mtime: number,
  mtimeNs: number,
): Result {
  setTimes(atime, atimeNs, mtime, mtimeNs)
  if (path.length === 0) return result(c.futimens(dirfd, times))
  return result(c.utimensat(dirfd, cstr(path), times, AT_SYMLINK_NOFOLLOW))
}

/** utimensat(2) of what an O_PATH descriptor of a file that is no symlink refers to. */
export function utimensPath(
  fd: number,
  atime: number,
  atimeNs: number,
  mtime: number,
  mtimeNs: number,
): Result {
  setTimes(atime, atimeNs, mtime, mtimeNs)
  return result(c.utimensat(AT_FDCWD, cstr(`/proc/self/fd/${fd}`), times, 0))
}

const statfsBuffer = Buffer.alloc(120)

/** fstatfs(2). @param out may be undefined where only the type is wanted. @returns the filesystem's magic number (f_type) */
export function statFs(fd: number, out?: StatFs): Result {
  const r = c.fstatfs(fd, statfsBuffer)
  if (r < 0) return result(r)
  const at = (index: number): number => Number(statfsBuffer.readBigUInt64LE(index * 8))
  if (out !== undefined) {
    out.bsize = at(1)
    out.blocks = at(2)
    out.bfree = at(3)
    out.bavail = at(4)
    out.files = at(5)
    out.ffree = at(6)
    out.namelen = at(8)
    out.frsize = at(9)
  }
  return at(0)
}
