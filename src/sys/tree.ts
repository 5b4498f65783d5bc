/** Mounts that stand in no namespace: open_tree(2), mount_setattr(2) and fsopen(2), since Linux 5.12. */

import { AT_EMPTY_PATH } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { close } from './file.js'
import { bind, cstr, result } from './libc.js'

const syscall = bind('long syscall(long, long, void *, long, void *, long)')
const SYS_OPEN_TREE = 428
const SYS_MOUNT_SETATTR = 442
const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const AT_RECURSIVE = 0x8000
const MOUNT_ATTR_RDONLY = 1
const MOUNT_ATTR_NOATIME = 0x10
const MOUNT_ATTR_ATIME = 0x70
const SYS_FSOPEN = 430
const SYS_FSCONFIG = 431
const SYS_FSMOUNT = 432
const FSOPEN_CLOEXEC = 1
const FSCONFIG_SET_FLAG = 0
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6
const FSMOUNT_CLOEXEC = 1

const fsopen = bind('long syscall(long, const void *, long)')
const fsconfig = bind('long syscall(long, long, long, const void *, const void *, long)')
const fsmount = bind('long syscall(long, long, long, long)')

/**
 * Replaces a directory's descriptor by one of a detached, recursive clone of its mounts, read-only and without access
 * times. Later mounts on the original are not seen in the clone.
 *
 * @returns the clone, `fd` being closed; `fd` itself where the caller lacks CAP_SYS_ADMIN over its mounts
 */
export function cloneReadOnly(fd: number): Result {
  const clone = openTree(fd, AT_RECURSIVE)
  if (clone < 0) return fd
  // Where a user namespace has locked the access time setting, at least nothing is written.
  if (setAttributes(clone, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME) < 0)
    setAttributes(clone, MOUNT_ATTR_RDONLY, 0)
  close(fd)
  return clone
}

/** A detached clone of the one mount that a directory is on, from there down, that keeps no access times. @returns -EPERM as above */
export function cloneWithoutAtime(fd: number): Result {
  const clone = openTree(fd, 0)
  if (clone < 0) return clone
  const r = setAttributes(clone, MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME)
  if (r >= 0) return clone
  close(clone)
  return r
}

const openTree = (fd: number, flags: number): Result =>
  result(
    syscall(
      SYS_OPEN_TREE,
      fd,
      cstr(''),
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | flags,
      null,
      0,
    ),
  )

/** mount_setattr(2) of a whole tree. */
function setAttributes(fd: number, set: number, clear: number): Result {
  const attr = Buffer.alloc(32)
  attr.writeBigUInt64LE(BigInt(set), 0)
  attr.writeBigUInt64LE(BigInt(clear), 8)
  return result(syscall(SYS_MOUNT_SETATTR, fd, cstr(''), AT_EMPTY_PATH | AT_RECURSIVE, attr, attr.length))
}

/**
 * Mounts a filesystem nowhere, without access times: fsopen(2), fsconfig(2), fsmount(2).
 *
 * @param settings its options; `true`: a flag
 * @returns a descriptor of its root: the mount goes with the last one
 */
export function mountDetached(type: string, settings: Readonly<Record<string, string | true>>): Result {
  const context = result(fsopen(SYS_FSOPEN, cstr(type), FSOPEN_CLOEXEC))
  if (context < 0) return context
  const set = (command: number, key: Buffer | null, value: Buffer | null): Result =>
    result(fsconfig(SYS_FSCONFIG, context, command, key, value, 0))
  let r: Result = 0
  for (const [key, value] of Object.entries(settings)) {
    if (r < 0) break
    r =
      value === true
        ? set(FSCONFIG_SET_FLAG, cstr(key), null)
        : set(FSCONFIG_SET_STRING, cstr(key), cstr(value, 1))
  }
  if (r >= 0) r = set(FSCONFIG_CMD_CREATE, null, null)
  if (r >= 0) r = result(fsmount(SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOATIME))
  close(context)
  return r
}
