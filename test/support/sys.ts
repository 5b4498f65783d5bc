/**
 * System calls that node:fs does not have, for tests. Each throws a `SysError` where src/sys answers -errno.
 * Paths are byte strings (latin1), as in src/sys.
 */
import koffi from 'koffi'
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  O_RDONLY,
  SEEK_SET,
} from '../../src/abi/linux.js'
import { errnoText } from '../../src/errors.js'
import * as file from '../../src/sys/file.js'
import { bind, cstr, result } from '../../src/sys/libc.js'
import * as name from '../../src/sys/name.js'
import * as stat from '../../src/sys/stat.js'
import { Attr } from '../../src/vfs.js'

export class SysError extends Error {
  constructor(
    readonly errno: number,
    call: string,
  ) {
    super(`${call}: ${errnoText(errno)}`)
  }
}

function ok(r: number, call: string): number {
  if (r < 0) throw new SysError(-r, call)
  return r
}

const c = {
  lget: bind('long lgetxattr(const void *, const void *, void *, size_t)'),
  lset: bind('int lsetxattr(const void *, const void *, const void *, size_t, int)'),
  llist: bind('long llistxattr(const void *, void *, size_t)'),
  lremove: bind('int lremovexattr(const void *, const void *)'),
  fget: bind('long fgetxattr(int, const void *, void *, size_t)'),
  fset: bind('int fsetxattr(int, const void *, const void *, size_t, int)'),
  getdents64: bind('long getdents64(int, void *, size_t)'),
  fcntl: bind('int fcntl64(int, int, void *)'),
  statx: bind('int statx(int, const void *, int, uint32_t, void *)'),
  munmap: bind('int munmap(void *, size_t)'),
  msync: bind('int msync(void *, size_t, int)'),
}
const libc = koffi.load('libc.so.6')
const mmap = libc.func('void *mmap64(void *, size_t, int, int, int, int64_t)') as unknown as (
  ...args: (number | null)[]
) => bigint
const lseek64 = libc.func('int64_t lseek64(int, int64_t, int)') as unknown as (
  fd: number,
  pos: bigint,
  whence: number,
) => number | bigint

export const renameat2 = (from: string, to: string, flags = 0): void => {
  ok(name.renameAt(AT_FDCWD, from, AT_FDCWD, to, flags), 'renameat2')
}

/** mknod(2). @param rdev see `makedev` of src/sys/stat.ts */
export const mknod = (path: string, mode: number, rdev = 0): void => {
  ok(name.mknodAt(AT_FDCWD, path, mode, rdev), 'mknod')
}

/** The flags that chattr(1) sets, FS_*_FL: ioctl_iflags(2). */
export function getFlags(path: string): number {
  const data = Buffer.alloc(4)
  onFile(path, (fd) => ok(file.flags(fd, FS_IOC_GETFLAGS, data), 'FS_IOC_GETFLAGS'))
  return data.readUInt32LE(0)
}

export function setFlags(path: string, flags: number): void {
  const data = Buffer.alloc(4)
  data.writeUInt32LE(flags, 0)
  onFile(path, (fd) => ok(file.flags(fd, FS_IOC_SETFLAGS, data), 'FS_IOC_SETFLAGS'))
}

function onFile(path: string, use: (fd: number) => void): void {
  const fd = ok(file.open(AT_FDCWD, path, O_RDONLY), 'open')
  try {
    use(fd)
  } finally {
    file.close(fd)
  }
}

export const linkFd = (fd: number, to: string): void => {
  ok(name.linkFd(fd, AT_FDCWD, to), 'linkat')
}

export const lseek = (fd: number, pos: number, whence: number): number =>
  ok(file.lseek(fd, pos, whence), 'lseek')

export const fallocate = (fd: number, mode: number, pos: number, len: number): void => {
  ok(file.fallocate(fd, mode, pos, len), 'fallocate')
}

export const copyFileRange = (
  from: number,
  fromPos: number,
  to: number,
  toPos: number,
  len: number,
): number => ok(file.copyFileRange(from, fromPos, to, toPos, len), 'copy_file_range')

export const flock = (fd: number, operation: number): void => {
  ok(file.flock(fd, operation), 'flock')
}

export const syncfs = (fd: number): void => {
  ok(file.syncfs(fd), 'syncfs')
}

const STATX_BASIC_AND_BTIME = 0xfff
const stx = Buffer.alloc(256)

/** statx(2) without following, as fresh as the filesystem can tell: src/sys is content with what the kernel has cached. */
export function statx(path: string): Attr {
  const r = c.statx(AT_FDCWD, cstr(path), AT_SYMLINK_NOFOLLOW, STATX_BASIC_AND_BTIME, stx)
  ok(result(r), 'statx')
  const time = (at: number): [number, number] => [Number(stx.readBigInt64LE(at)), stx.readUInt32LE(at + 8)]
  const out = new Attr()
  out.blksize = stx.readUInt32LE(4)
  out.nlink = stx.readUInt32LE(16)
  out.uid = stx.readUInt32LE(20)
  out.gid = stx.readUInt32LE(24)
  out.mode = stx.readUInt16LE(28)
  out.ino = Number(stx.readBigUInt64LE(32))
  out.size = Number(stx.readBigUInt64LE(40))
  out.blocks = Number(stx.readBigUInt64LE(48))
  ;[out.atime, out.atimeNs] = time(64)
  ;[out.btime, out.btimeNs] = time(80)
  ;[out.ctime, out.ctimeNs] = time(96)
  ;[out.mtime, out.mtimeNs] = time(112)
  out.rdev = stat.makedev(stx.readUInt32LE(128), stx.readUInt32LE(132))
  out.dev = stx.readUInt32LE(136) * 0x100000 + stx.readUInt32LE(140)
  return out
}

/** utimensat(2) without following; nanoseconds may be UTIME_NOW or UTIME_OMIT. */
export const utimens = (
  path: string,
  atime: number,
  atimeNs: number,
  mtime: number,
  mtimeNs: number,
): void => {
  ok(stat.utimensAt(AT_FDCWD, path, atime, atimeNs, mtime, mtimeNs), 'utimensat')
}

export const futimens = (
  fd: number,
  atime: number,
  atimeNs: number,
  mtime: number,
  mtimeNs: number,
): void => {
  ok(stat.utimensAt(fd, '', atime, atimeNs, mtime, mtimeNs), 'futimens')
}

/** An xattr's value. @param room bytes offered to the call; ERANGE where they do not do */
export function getxattr(file: string | number, xattr: string, room = 65536): Buffer {
  const dst = Buffer.alloc(room)
  const r =
    typeof file === 'number'
      ? c.fget(file, cstr(xattr), dst, room)
      : c.lget(cstr(file, 1), cstr(xattr), dst, room)
  const n = ok(result(r), 'getxattr')
  return room === 0 ? Buffer.alloc(n) : dst.subarray(0, n)
}

export function setxattr(file: string | number, xattr: string, value: Buffer | string, flags = 0): void {
  const bytes = Buffer.from(value)
  const r =
    typeof file === 'number'
      ? c.fset(file, cstr(xattr), bytes, bytes.length, flags)
      : c.lset(cstr(file, 1), cstr(xattr), bytes, bytes.length, flags)
  ok(result(r), 'setxattr')
}

export function listxattr(path: string, room = 65536): string[] {
  const dst = Buffer.alloc(room)
  const n = ok(result(c.llist(cstr(path), dst, room)), 'listxattr')
  return room === 0 ? [] : dst.toString('latin1', 0, n).split('\0').slice(0, -1)
}

export const removexattr = (path: string, xattr: string): void => {
  ok(result(c.lremove(cstr(path), cstr(xattr, 1))), 'removexattr')
}

export interface Dirent {
  name: string
  ino: bigint
  /** Cookie of the entry after this one: lseek(2) the directory there to go on. */
  next: bigint
  type: number
}

/** One getdents64(2): the entries that fit in `room` bytes, `.` and `..` among them; none at the end. */
export function getdents(fd: number, room = 32768): Dirent[] {
  const dst = Buffer.alloc(room)
  const n = ok(result(c.getdents64(fd, dst, room)), 'getdents64')
  const entries: Dirent[] = []
  for (let at = 0; at < n; at += dst.readUInt16LE(at + 16)) {
    entries.push({
      ino: dst.readBigUInt64LE(at),
      next: dst.readBigInt64LE(at + 8),
      type: dst.readUInt8(at + 18),
      name: dst.toString('latin1', at + 19, dst.indexOf(0, at + 19)),
    })
  }
  return entries
}

/** Has the next getdents go on at a cookie, of which all 64 bits count. */
export function seekdir(fd: number, cookie: bigint): void {
  if (lseek64(fd, cookie, SEEK_SET) < 0) throw new SysError(koffi.errno(), 'lseek')
}

/** All entries of a directory from its current position. */
export function alldents(fd: number, room = 32768): Dirent[] {
  const all: Dirent[] = []
  for (;;) {
    const some = getdents(fd, room)
    if (some.length === 0) return all
    all.push(...some)
  }
}

export const F_RDLCK = 0
export const F_WRLCK = 1
export const F_UNLCK = 2
const F_OFD_SETLK = 37

/** Locks or unlocks a byte range for an open file, without waiting: fcntl(2), F_OFD_SETLK. EAGAIN where another holds it. */
export function lockRange(fd: number, type: number, start: number, len: number): void {
  const flock64 = Buffer.alloc(32)
  flock64.writeInt16LE(type, 0)
  flock64.writeBigInt64LE(BigInt(start), 8)
  flock64.writeBigInt64LE(BigInt(len), 16)
  ok(result(c.fcntl(fd, F_OFD_SETLK, flock64)), 'fcntl')
}

const MS_SYNC = 4
const MAP_FAILED = 0xffffffffffffffffn

export class Mapping {
  readonly bytes: Buffer

  /** mmap(2) of the first `length` bytes of `fd`, read-only or read-write. @param fd -1: anonymous memory */
  constructor(
    fd: number,
    private readonly length: number,
    writable: boolean,
    shared = true,
  ) {
    const flags = (shared ? 1 : 2) | (fd < 0 ? 0x20 : 0)
    this.pointer = mmap(null, length, writable ? 3 : 1, flags, fd, 0)
    if (BigInt.asUintN(64, this.pointer) === MAP_FAILED) throw new SysError(koffi.errno(), 'mmap')
    this.bytes = Buffer.from(koffi.view(this.pointer, length))
  }

  private readonly pointer: bigint

  sync(): void {
    ok(result(c.msync(this.pointer as unknown as Buffer, this.length, MS_SYNC)), 'msync')
  }

  unmap(): void {
    ok(result(c.munmap(this.pointer as unknown as Buffer, this.length)), 'munmap')
  }
}
