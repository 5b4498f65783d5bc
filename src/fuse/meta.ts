/** Handlers of requests about attributes, xattrs and the filesystem as a whole. */

import * as F from '../abi/fuse.js'
import {
  ENOTTY,
  ERANGE,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  UTIME_NOW,
  XATTR_SIZE_MAX,
} from '../abi/linux.js'
import { type Fh, NO_FH, PARKED } from '../vfs.js'
import { type Context, MALFORMED, NO_REPLY } from './context.js'

const NOTHING = Buffer.alloc(0)

const handleIn = (x: Context, flag: boolean, at: number): Fh => (flag ? x.req.u64(at) : NO_FH)

export function getattr(x: Context): number {
  const fh = handleIn(x, (x.req.u32(F.GETATTR_IN.flags) & F.FUSE_GETATTR_FH) !== 0, F.GETATTR_IN.fh)
  const r = x.fs.getattr(x.req.node, fh, x.attr)
  return r < 0 ? r : x.reply.attributes(x.attr, x.req.node)
}

export function statx(x: Context): number {
  const fh = handleIn(x, (x.req.u32(F.STATX_IN.flags) & F.FUSE_GETATTR_FH) !== 0, F.STATX_IN.fh)
  const r = x.fs.getattr(x.req.node, fh, x.attr)
  return r < 0 ? r : x.reply.statx(x.attr, x.req.node)
}

export function setattr(x: Context): number {
  const { req, set } = x
  const valid = req.u32(F.SETATTR_IN.valid)
  const has = (bit: number): boolean => (valid & bit) !== 0
  set.mode = has(F.FATTR_MODE) ? req.u32(F.SETATTR_IN.mode) : undefined
  set.uid = has(F.FATTR_UID) ? req.u32(F.SETATTR_IN.uid) : undefined
  set.gid = has(F.FATTR_GID) ? req.u32(F.SETATTR_IN.gid) : undefined
  set.size = has(F.FATTR_SIZE) ? req.u64(F.SETATTR_IN.fileSize) : undefined
  set.atime = has(F.FATTR_ATIME) ? req.s64(F.SETATTR_IN.atime) : undefined
  set.atimeNs = has(F.FATTR_ATIME_NOW) ? UTIME_NOW : req.u32(F.SETATTR_IN.atimeNs)
  set.mtime = has(F.FATTR_MTIME) ? req.s64(F.SETATTR_IN.mtime) : undefined
  set.mtimeNs = has(F.FATTR_MTIME_NOW) ? UTIME_NOW : req.u32(F.SETATTR_IN.mtimeNs)
  set.killPriv = has(F.FATTR_KILL_SUIDGID)
  if (set.size !== undefined && x.around.holds(req.node)) return PARKED
  const fh = handleIn(x, has(F.FATTR_FH), F.SETATTR_IN.fh)
  const r = x.fs.setattr(req.caller, req.node, fh, set, x.attr)
  return r < 0 ? r : x.reply.attributes(x.attr, req.node)
}

/** The longest target of a symlink, PATH_MAX. */
const MAX_TARGET = 4096

export const readlink = (x: Context): number => x.fs.readlink(x.req.node, x.reply.body(MAX_TARGET))

/** Where the name stands in SETXATTR: the kernel sends the longer head where that was agreed on. */
const setxattrHead = (x: Context): number =>
  x.features.setxattrExt ? F.SETXATTR_IN.size : F.SETXATTR_IN.compatSize

export function setxattr(x: Context): number {
  const { req } = x
  const fixed = setxattrHead(x)
  const name = req.size > fixed ? req.text(fixed) : undefined
  const count = req.u32(F.SETXATTR_IN.valueSize)
  if (name === undefined || req.end + count > req.size) return MALFORMED
  const kill =
    x.features.setxattrExt && (req.u32(F.SETXATTR_IN.extFlags) & F.FUSE_SETXATTR_ACL_KILL_SGID) !== 0
  if (x.control.commands(req.node, name)) return x.control.obey(name)
  const value = req.data(req.end, count)
  return x.fs.setxattr(req.caller, req.node, name, value, req.u32(F.SETXATTR_IN.flags), kill)
}

/** Sends a size where that was asked for (`count` 0), else the value that lies in the body. */
function sized(x: Context, count: number, n: number): number {
  if (n < 0) return n
  if (count > 0) return n > count ? -ERANGE : n
  x.reply.u32(0, n)
  x.reply.u32(4, 0)
  return 8
}

/** Room for a value or list of up to `count` bytes. */
const room = (x: Context, count: number): Buffer =>
  count === 0 ? NOTHING : x.reply.body(Math.min(count, XATTR_SIZE_MAX))

/** Whether a request asks the session itself something, or tells it to do something. */
export function isForSession(x: Context): boolean {
  const { req, control } = x
  if (req.opcode === F.FUSE_GETXATTR) return control.owns(req.node, req.text(F.GETXATTR_IN.size) ?? '')
  if (req.opcode !== F.FUSE_SETXATTR) return false
  const fixed = setxattrHead(x)
  return req.size > fixed && control.commands(req.node, req.text(fixed) ?? '')
}

export function getxattr(x: Context): number {
  const { req } = x
  const name = req.text(F.GETXATTR_IN.size)
  if (name === undefined) return MALFORMED
  const count = req.u32(F.GETXATTR_IN.count)
  const dst = room(x, count)
  if (x.control.owns(req.node, name)) return sized(x, count, x.control.getxattr(name, dst))
  return sized(x, count, x.fs.getxattr(req.caller, req.node, name, dst))
}

export function listxattr(x: Context): number {
  const count = x.req.u32(F.GETXATTR_IN.count)
  return sized(x, count, x.fs.listxattr(x.req.caller, x.req.node, room(x, count)))
}

export function removexattr(x: Context): number {
  const name = x.req.text(0)
  return name === undefined ? MALFORMED : x.fs.removexattr(x.req.caller, x.req.node, name)
}

export function statfs(x: Context): number {
  const r = x.fs.statfs(x.req.node, x.stat)
  return r < 0 ? r : x.reply.statfs(x.stat)
}

export const syncfs = (x: Context): number => x.fs.syncfs()

/** Since Linux 5.14: the kernel checks who may change a file's flags. Before, it hands on what anybody asks. */
const FLAGS_CHECKED_MINOR = 34
const FLAGS: ReadonlySet<number> = new Set([
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
])

/**
 * The flags of a file, each in the caller's 4 or 28 bytes. ENOTTY is what a file without a control answers; ENOSYS would do
 * as well, but for the whole mount.
 */
export function ioctl(x: Context): number {
  const { req } = x
  const command = req.u32(F.IOCTL_IN.command)
  if (x.fs.flags === undefined || x.features.minor < FLAGS_CHECKED_MINOR || !FLAGS.has(command))
    return -ENOTTY
  const size = command === FS_IOC_GETFLAGS || command === FS_IOC_SETFLAGS ? 4 : 28
  const sent = Math.min(req.u32(F.IOCTL_IN.inSize), size)
  if (F.IOCTL_IN.size + sent > req.size) return MALFORMED
  const body = x.reply.body(F.IOCTL_OUT.size + size).fill(0)
  const data = body.subarray(F.IOCTL_OUT.size)
  req.data(F.IOCTL_IN.size, sent).copy(data)
  const r = x.fs.flags(req.node, command, data)
  return r < 0 ? r : F.IOCTL_OUT.size + Math.min(size, req.u32(F.IOCTL_IN.outSize))
}

/** The request it speaks of has been answered: requests are handled one at a time, and this one was read after it. */
export const interrupt = (_x: Context): number => NO_REPLY

/** The kernel unmounts; the session ends when the device says so. */
export const destroy = (_x: Context): number => 0
