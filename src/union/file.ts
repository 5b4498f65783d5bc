/** Open files: open, read, write, release and what else acts on a handle. */

import {
  EAGAIN,
  EBADF,
  EIO,
  EISDIR,
  ELOOP,
  ENODATA,
  EOPNOTSUPP,
  EROFS,
  ESTALE,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_TRUNC,
  S_ISGID,
  S_ISUID,
  S_IXGRP,
} from '../abi/linux.js'
import { CAPABILITY } from '../abi/overlay.js'
import * as sys from '../sys/file.js'
import { stat } from '../sys/stat.js'
import { groupsOf } from '../sys/thread.js'
import { getXattr, removeXattr } from '../sys/xattr.js'
import {
  Attr,
  type Caller,
  type Fh,
  type Job,
  type Name,
  NO_FH,
  type NodeId,
  type Opened,
  PARKED,
  type Result,
} from '../vfs.js'
import { copyUp, writes } from './copyup.js'
import type { Core } from './core.js'
import { descriptorOf, openNode } from './descriptors.js'
import type { Handle } from './handles.js'
import { runJob } from './job.js'
import type { Layer } from './layer.js'
import { lend } from './lent.js'
import { locate, place } from './locate.js'
import { Dir, type Node, Stamp } from './node.js'
import { setMode, statIn, xattrOnDisk } from './override.js'

/** The flags a descriptor of ours is opened with for a caller's: what concerns only the way here is left out. */
export const ourFlags = (flags: number): number =>
  flags & ~(O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_DIRECT)

/** The most that is worth handing over before anybody asks: what the kernel's readahead takes at once. */
const MAX_PRELOAD = 128 * 1024

/**
 * Answers an open file.
 *
 * @param fd -1: it is opened when somebody needs it
 * @param made attributes of the file, where it has just been made
 */
export function opened(core: Core, node: Node, fd: number, flags: number, out: Opened, made?: Attr): Result {
  const offers = core.policy.passthrough && staysPut(core, node)
  // Reading a file of the upper would change its access time, which opening does not.
  const unread = node.handles === undefined && node.opened === undefined && !node.inUpper
  const asks = fd >= 0 && made === undefined && (offers || core.shadows !== undefined || unread)
  const attr = asks && stat(fd, scratch) >= 0 ? scratch : made
  const small = attr !== undefined && attr.size <= MAX_PRELOAD
  const plain = attr === undefined || !hasSetId(attr)
  const lent = attr !== undefined && !small && plain ? lend(core, node, attr) : -1
  out.fh = core.handles.add(node, fd, flags & ~(O_CREAT | O_EXCL))
  out.keepCache = true
  out.backing = lent < 0 && offers && plain ? fd : lent
  out.preload = unread && small ? attr.size : 0
  node.opened ??= small ? 'small' : 'large'
  return 0
}

/** Whether a file's data will not move while it is open. */
const staysPut = (core: Core, node: Node): boolean =>
  core.workdir === undefined || (node.inUpper && node.dataBelow !== true)

/**
 * Whether a file can do without a descriptor when it is opened to read: one which the kernel has been able to read before, so
 * that it may have all of it, and which can still be opened when it has not. A file of the upper may be closed to its owner by then.
 */
const needsNone = ({ workdir, policy, shadows }: Core, node: Node): boolean =>
  node.opened !== undefined &&
  !node.adrift &&
  workdir !== undefined &&
  (node.inUpper ? policy.unbarred && !policy.passthrough : shadows === undefined || node.opened === 'small')

/** Whether a write may take mode bits from a file: one past us would be the daemon's, who may keep them. */
const hasSetId = ({ mode }: Attr): boolean => (mode & (S_ISUID | S_ISGID)) !== 0

/** Opens a file; copies it up first where the flags write. */
export function open(
  core: Core,
  c: Caller,
  node: Node,
  flags: number,
  killPriv: boolean,
  out: Opened,
): Result {
  if (node instanceof Dir) return -EISDIR
  if (!node.isRegular) return -ELOOP
  const truncate = (flags & O_TRUNC) !== 0
  const changes = writes(flags) || truncate
  if (changes) {
    const r = copyUp(core, node, truncate ? 'none' : 'all')
    if (r < 0) return r
  }
  const wanted = ourFlags(flags)
  if (!changes && needsNone(core, node)) return opened(core, node, -1, wanted, out)
  const fd = openNode(core, node, wanted | (truncate ? O_TRUNC : 0))
  if (fd < 0) return fd
  if (truncate && killPriv) {
    const r = dropPrivileges(core, node, c)
    if (r < 0) {
      sys.close(fd)
      return r
    }
  }
  return opened(core, node, fd, wanted, out)
}

/** What an open file is read by; with NO_FH a file of a mount without an upper. */
export function source(core: Core, id: NodeId, fh: Fh): Result {
  const handle = core.handles.get(fh)
  if (handle !== undefined) return descriptorOf(core, handle)
  if (fh !== NO_FH || core.unopened === undefined) return -EBADF
  const node = core.node(id)
  return node?.isRegular ? core.unopened.fd(core, node) : -ESTALE
}

/** The same for a file whose data are in a lower: until it is opened to write or truncated nothing changes them. */
export function steadySource(core: Core, id: NodeId, fh: Fh): Result {
  const node = core.node(id)
  if (node === undefined || node.inUpper || node.adrift) return -EBADF
  return node.handles?.some((handle) => writes(handle.flags)) ? -EBADF : source(core, id, fh)
}

export function read(core: Core, id: NodeId, fh: Fh, dst: Buffer, pos: number): Result {
  const fd = source(core, id, fh)
  return fd < 0 ? fd : sys.pread(fd, dst, pos)
}

export function write(
  core: Core,
  fh: Fh,
  src: Buffer,
  pos: number,
  outsider: Caller | undefined,
  late: boolean,
): Result {
  if (core.workdir === undefined) return -EROFS
  const handle = core.handles.get(fh)
  if (handle === undefined) return -EBADF
  if (!late) handle.node.stamp = undefined
  else noteTime(handle)
  return changed(core, handle.node, sys.pwrite(handle.fd, src, pos), outsider)
}

/** What a call that changed data answers, once set-id bits are gone. */
function changed(core: Core, node: Node, n: Result, outsider: Caller | undefined): Result {
  const r = n >= 0 && outsider !== undefined ? dropPrivileges(core, node, outsider) : 0
  return r < 0 ? r : n
}

/** Before a write that changes no time as the kernel has it: notes the time that the file is to have again. */
function noteTime({ node, fd }: Handle): void {
  if (node.stamp === undefined) {
    if (stat(fd, scratch) < 0) return
    node.stamp = new Stamp(scratch.mtime, scratch.mtimeNs)
  }
  node.stamp.late = true
}

const scratch = new Attr()
const NO_BYTES = Buffer.alloc(0)

/** Takes from a file of the upper what a write by `c`, who has no CAP_FSETID, takes: set-id bits and capabilities. */
export function dropPrivileges(core: Core, node: Node, c: Caller): Result {
  let r = locate(node, '')
  if (r < 0) return r
  const { fd: dirfd, name } = place
  const { layer } = node.home
  r = statIn(layer, dirfd, name, scratch)
  if (r < 0) return r
  const mode = withoutPrivileges(layer, scratch, c)
  if (mode !== (scratch.mode & 0o7777)) {
    r = setMode(layer, dirfd, name, mode)
    if (r < 0) return r
    // After a write the kernel asks anew for size and times, not for the mode.
    core.notifier?.attributes(node.id)
  }
  // Removing what is not there is EPERM for a daemon without privilege.
  const xattr = xattrOnDisk(layer, CAPABILITY) as Name
  r = getXattr(dirfd, name, xattr, NO_BYTES)
  if (r === -ENODATA || r === -EOPNOTSUPP) return 0
  return r < 0 ? r : removeXattr(dirfd, name, xattr)
}

/**
 * The permission bits of a file without set-user-id and, as the kernel's setattr_should_drop_sgid() has it, without
 * set-group-id where the group may execute or `c` is not in it.
 *
 * @param attr as on disk; @param c undefined: somebody with CAP_FSETID
 */
export function withoutPrivileges(layer: Layer, attr: Attr, c: Caller | undefined): number {
  const { mode } = attr
  const kept = mode & 0o7777 & ~S_ISUID
  if ((mode & S_ISGID) === 0) return kept
  const drops = (mode & S_IXGRP) !== 0 || (c !== undefined && !isInGroup(c, layer.gids.toShown(attr.gid)))
  return drops ? kept & ~S_ISGID : kept
}

/** FUSE tells no supplementary groups: the caller, which waits for the answer, is asked for in /proc. */
const isInGroup = (c: Caller, gid: number): boolean => c.gid === gid || groupsOf(c.pid).includes(gid)

export function fsync(core: Core, fh: Fh, dataOnly: boolean): Result {
  if (core.workdir === undefined) return 0
  const handle = core.handles.get(fh)
  if (handle === undefined) return -EBADF
  if (!core.policy.durable || !handle.node.inUpper) return 0
  const { helpers } = core
  const fd = descriptorOf(core, handle)
  if (fd < 0) return fd
  const job: Job = { kind: 'sync', fd, dataOnly }
  handle.syncing ??= helpers?.start(job) ?? -EAGAIN
  const r = handle.syncing < 0 ? runJob(job) : (helpers?.take(handle.syncing) ?? -EIO)
  if (r !== PARKED) handle.syncing = undefined
  return r
}

export function fallocate(
  core: Core,
  fh: Fh,
  mode: number,
  pos: number,
  len: number,
  outsider: Caller | undefined,
): Result {
  if (core.workdir === undefined) return -EROFS
  const handle = core.handles.get(fh)
  if (handle === undefined) return -EBADF
  return changed(core, handle.node, sys.fallocate(handle.fd, mode, pos, len), outsider)
}

export function lseek(core: Core, id: NodeId, fh: Fh, pos: number, whence: number): Result {
  const fd = source(core, id, fh)
  return fd < 0 ? fd : sys.lseek(fd, pos, whence)
}

export function copyFileRange(
  core: Core,
  fh: Fh,
  pos: number,
  outFh: Fh,
  outPos: number,
  len: number,
  outsider: Caller | undefined,
): Result {
  if (core.workdir === undefined) return -EROFS
  const source = core.handles.get(fh)
  const to = core.handles.get(outFh)
  if (source === undefined || to === undefined) return -EBADF
  const from = descriptorOf(core, source)
  if (from < 0) return from
  return changed(core, to.node, sys.copyFileRange(from, pos, to.fd, outPos, len), outsider)
}
