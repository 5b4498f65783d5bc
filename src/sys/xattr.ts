/**
 * Extended attributes: xattr(7). A file is `name` in the directory behind `dirfd` (which may be O_PATH; `.` is that
 * directory itself) and is never followed; with an empty name it is the open file `dirfd`, which may not be O_PATH.
 */

import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, ERANGE, O_PATH, XATTR_SIZE_MAX } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { close, open } from './file.js'
import { bind, cstr, listxattrat, result } from './libc.js'

const c = {
  fget: bind('long fgetxattr(int, const void *, void *, size_t)'),
  fset: bind('int fsetxattr(int, const void *, const void *, size_t, int)'),
  flist: bind('long flistxattr(int, void *, size_t)'),
  fremove: bind('int fremovexattr(int, const void *)'),
  lget: bind('long lgetxattr(const void *, const void *, void *, size_t)'),
  lset: bind('int lsetxattr(const void *, const void *, const void *, size_t, int)'),
  llist: bind('long llistxattr(const void *, void *, size_t)'),
  lremove: bind('int lremovexattr(const void *, const void *)'),
}

/** Linux 6.13 has it; a sandbox may refuse it. */
const hasListAt = listxattrat(AT_FDCWD, cstr('/'), AT_SYMLINK_NOFOLLOW, Buffer.alloc(0)) >= 0

/** Most xattr calls take no directory; /proc reaches the same file without walking a path of the layer's. */
const through = (dirfd: number, name: string): Buffer => cstr(`/proc/self/fd/${dirfd}/${name}`)

/** @returns the value's size; an empty `dst` asks for the size alone. -ENODATA where there is none, -ERANGE where it does not fit */
export const getXattr = (dirfd: number, name: string, xattr: string, dst: Buffer): Result =>
  result(
    name.length === 0
      ? c.fget(dirfd, cstr(xattr, 1), dst, dst.length)
      : c.lget(through(dirfd, name), cstr(xattr, 1), dst, dst.length),
  )

/** @param flags XATTR_CREATE, XATTR_REPLACE or 0 */
export const setXattr = (dirfd: number, name: string, xattr: string, value: Buffer, flags = 0): Result =>
  result(
    name.length === 0
      ? c.fset(dirfd, cstr(xattr, 1), value, value.length, flags)
      : c.lset(through(dirfd, name), cstr(xattr, 1), value, value.length, flags),
  )

/** @returns the size of the list of NUL-ended names; sizes as getXattr */
export const listXattr = (dirfd: number, name: string, dst: Buffer): Result =>
  name.length === 0
    ? result(c.flist(dirfd, dst, dst.length))
    : hasListAt
      ? listxattrat(dirfd, cstr(name), AT_SYMLINK_NOFOLLOW, dst)
      : result(c.llist(through(dirfd, name), dst, dst.length))

export const removeXattr = (dirfd: number, name: string, xattr: string): Result =>
  result(
    name.length === 0 ? c.fremove(dirfd, cstr(xattr, 1)) : c.lremove(through(dirfd, name), cstr(xattr, 1)),
  )

const scratch = Buffer.alloc(XATTR_SIZE_MAX)

/** The value as a fresh Buffer, or -errno. */
export function readXattr(dirfd: number, name: string, xattr: string): Buffer | Result {
  const n = getXattr(dirfd, name, xattr, scratch)
  return n < 0 ? n : Buffer.from(scratch.subarray(0, n))
}

/** The value of the file at a path as UTF-8 text, or -errno. @param path bytes; a symbolic link at its end is not followed */
export function readXattrOf(path: string, xattr: string): string | Result {
  const at = path.lastIndexOf('/')
  const base = path.slice(at + 1)
  const isDir = base === '' || base === '.' || base === '..'
  const dir = isDir ? path : at < 0 ? '.' : path.slice(0, at + 1)
  const fd = open(AT_FDCWD, dir, O_PATH)
  if (fd < 0) return fd
  const value = readXattr(fd, isDir ? '.' : base, xattr)
  close(fd)
  return typeof value === 'number' ? value : value.toString('utf8')
}

/** The names of a file's xattrs, or -errno. -ERANGE where the list is longer than XATTR_SIZE_MAX. */
export function xattrNames(dirfd: number, name: string): string[] | Result {
  const n = listXattr(dirfd, name, scratch)
  if (n < 0) return n
  if (n > scratch.length) return -ERANGE
  const names = scratch.toString('latin1', 0, n).split('\0')
  names.pop()
  return names
}
