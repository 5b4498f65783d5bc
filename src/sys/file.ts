/** Open files: open(2), pread(2), fallocate(2) and their kin. */

import {
  ENOSYS,
  F_DUPFD_CLOEXEC,
  FICLONE,
  O_CLOEXEC,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { bind, cstr, openat2, result } from './libc.js'

const c = {
  openat: bind('int openat(int, const void *, int, uint32_t)'),
  close: bind('int close(int)'),
  dup3: bind('int dup3(int, int, int)'),
  fcntl: bind('int fcntl(int, int, int)'),
  pread: bind('long pread64(int, void *, size_t, int64_t)'),
  pwrite: bind('long pwrite64(int, const void *, size_t, int64_t)'),
  ftruncate: bind('int ftruncate64(int, int64_t)'),
  fsync: bind('int fsync(int)'),
  fdatasync: bind('int fdatasync(int)'),
  syncfs: bind('int syncfs(int)'),
  fallocate: bind('int fallocate64(int, int, int64_t, int64_t)'),
  lseek: bind('int64_t lseek64(int, int64_t, int)'),
  copyFileRange: bind('long copy_file_range(int, void *, int, void *, size_t, uint32_t)'),
  ioctl: bind('int ioctl(int, unsigned long, long)'),
  ioctlData: bind('int ioctl(int, unsigned long, void *)'),
  flock: bind('int flock(int, int)'),
}

/** openat(2), always close-on-exec. @param path relative to `dirfd` */
export const open = (dirfd: number, path: string, flags: number, mode = 0): Result =>
  result(c.openat(dirfd, cstr(path), flags | O_CLOEXEC, mode))

const how = Buffer.alloc(24)
let haveOpenat2 = true

/**
 * Opens a path of several components beneath `dirfd` without following any symlink: openat2(2) with
 * RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS. Needs Linux 5.6.
 *
 * @returns a descriptor; -ELOOP where a component is a symlink, -EXDEV where the path would leave `dirfd`
 */
export function openBeneath(dirfd: number, path: string, flags: number): Result {
  if (!haveOpenat2) return -ENOSYS
  how.writeUInt32LE((flags | O_CLOEXEC) >>> 0, 0)
  how.writeUInt32LE(0, 4)
  how.writeBigUInt64LE(BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), 16)
  const fd = openat2(dirfd, cstr(path), how)
  if (fd === -ENOSYS) haveOpenat2 = false
  return fd
}

export const close = (fd: number): Result => result(c.close(fd))

/** Another descriptor of the same open file: F_DUPFD_CLOEXEC of fcntl(2). */
export const duplicate = (fd: number): Result => result(c.fcntl(fd, F_DUPFD_CLOEXEC, 0))

/** Makes descriptor `to` refer to the open file of `from`, atomically: dup3(2). */
export const replace = (from: number, to: number): Result => result(c.dup3(from, to, O_CLOEXEC))

/** Reads up to `dst.length` bytes at `pos`. */
export const pread = (fd: number, dst: Buffer, pos: number): Result =>
  result(c.pread(fd, dst, dst.length, pos))

/** Writes all of `src` at `pos`, or as much as the filesystem takes. */
export function pwrite(fd: number, src: Buffer, pos: number): Result {
  return result(c.pwrite(fd, src, src.length, pos))
}

export const ftruncate = (fd: number, size: number): Result => result(c.ftruncate(fd, size))
export const fsync = (fd: number): Result => result(c.fsync(fd))
export const fdatasync = (fd: number): Result => result(c.fdatasync(fd))
export const syncfs = (fd: number): Result => result(c.syncfs(fd))
export const fallocate = (fd: number, mode: number, pos: number, len: number): Result =>
  result(c.fallocate(fd, mode, pos, len))
export const lseek = (fd: number, pos: number, whence: number): Result => result(c.lseek(fd, pos, whence))

const posIn = Buffer.alloc(8)
const posOut = Buffer.alloc(8)

/** copy_file_range(2) at explicit positions. @returns bytes copied, 0 at the end of the source */
export function copyFileRange(from: number, fromPos: number, to: number, toPos: number, len: number): Result {
  posIn.writeBigInt64LE(BigInt(fromPos))
  posOut.writeBigInt64LE(BigInt(toPos))
  return result(c.copyFileRange(from, posIn, to, posOut, len, 0))
}

/** Makes `to` share all of `from`'s extents: ioctl_ficlone(2). -EOPNOTSUPP, -EXDEV or -EINVAL where that cannot be. */
export const clone = (from: number, to: number): Result => result(c.ioctl(to, FICLONE, from))

/** Reads or writes the flags of a file: ioctl_iflags(2), ioctl_xfs_fsgetxattr(2). */
export const flags = (fd: number, command: number, data: Buffer): Result =>
  result(c.ioctlData(fd, command, data))

export const LOCK_SH = 1
export const LOCK_EX = 2
export const LOCK_NB = 4

/** flock(2). -EAGAIN where another open file holds the lock and LOCK_NB is given. */
export const flock = (fd: number, operation: number): Result => result(c.flock(fd, operation))
