/** getattr and setattr. */

import {
  EINVAL,
  EISDIR,
  EROFS,
  O_WRONLY,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
  UTIME_NOW,
  UTIME_OMIT,
} from '../abi/linux.js'
import { close, ftruncate } from '../sys/file.js'
import { utimensAt, utimensPath } from '../sys/stat.js'
import { Attr, type Caller, type Fh, type Result, type SetAttr } from '../vfs.js'
import { copyUp } from './copyup.js'
import type { Core } from './core.js'
import { openNode } from './descriptors.js'
import { dropPrivileges, withoutPrivileges } from './file.js'
import type { Layer } from './layer.js'
import { locate, place } from './locate.js'
import { statNode } from './lookup.js'
import { Dir, type Node, Stamp } from './node.js'
import { setMode, setOwner, statIn } from './override.js'

/**
 * Changes a node's size, owner, mode and times, in that order, and answers its new attributes.
 *
 * @returns -EINVAL for an owner that the upper's id map cannot store: nothing is changed then
 */
export function setattr(core: Core, c: Caller, node: Node, fh: Fh, set: SetAttr, out: Attr): Result {
  if (core.workdir === undefined) return -EROFS
  if (set.size !== undefined && node instanceof Dir) return -EISDIR
  // Times that the kernel writes back late, to a file whose last name and last handle are gone.
  if (node.adrift && node.anchor < 0 && node.epitaph !== undefined && !node.handles?.length)
    return statNode(core, node, out)
  const upper = core.stack.upper as Layer
  const uid = set.uid === undefined ? undefined : upper.uids.toDisk(set.uid)
  const gid = set.gid === undefined ? undefined : upper.gids.toDisk(set.gid)
  if ((uid !== undefined && uid < 0) || (gid !== undefined && gid < 0)) return -EINVAL
  let r = copyUp(core, node, set.size === undefined ? 'meta' : set.size === 0 ? 'none' : 'all')
  if (r < 0) return r
  if (set.size !== undefined) {
    r = truncate(core, node, fh, set.size)
    if (r >= 0 && set.killPriv) r = dropPrivileges(core, node, c)
    if (r < 0) return r
  }
  if (uid !== undefined || gid !== undefined) {
    r = chown(c, node, uid, gid, set)
    if (r < 0) return r
  }
  if (set.mode !== undefined) {
    r = chmod(node, set.mode)
    if (r < 0) return r
  }
  if (set.atime !== undefined || set.mtime !== undefined) {
    r = utimens(node, set)
    if (r < 0) return r
  }
  if (node.stamp !== undefined) restamp(node, set)
  return statNode(core, node, out)
}

function truncate(core: Core, node: Node, fh: Fh, size: number): Result {
  const handle = core.handles.get(fh)
  if (handle !== undefined) {
    const r = ftruncate(handle.fd, size)
    if (r !== -EINVAL) return r
  }
  const fd = openNode(core, node, O_WRONLY)
  if (fd < 0) return fd
  const r = ftruncate(fd, size)
  close(fd)
  return r
}

const before = new Attr()

/** chown(2) as root of the layer, which may lose set-id bits; the kernel tells in `killPriv` whether those go that the caller loses. */
function chown(
  c: Caller,
  node: Node,
  uid: number | undefined,
  gid: number | undefined,
  set: SetAttr,
): Result {
  let r = locate(node, '')
  if (r < 0) return r
  const { fd, name } = place
  const { layer } = node.home
  r = statIn(layer, fd, name, before)
  if (r < 0) return r
  r = setOwner(layer, fd, name, uid, gid)
  if (r < 0 || set.mode !== undefined || (before.mode & S_IFMT) !== S_IFREG) return r
  const outsider = c.uid === 0 ? undefined : c
  const mode = set.killPriv ? withoutPrivileges(layer, before, outsider) : before.mode & 0o7777
  if ((before.mode & (S_ISUID | S_ISGID)) === 0) return r
  return setMode(layer, fd, name, mode)
}

function chmod(node: Node, mode: number): Result {
  const r = locate(node, '')
  if (r < 0) return r
  return setMode(node.home.layer, place.fd, place.name, mode & 0o7777)
}

/** Follows a change of an open file's time. */
function restamp(node: Node, { size, mtime, mtimeNs }: SetAttr): void {
  if (mtime !== undefined && mtimeNs !== UTIME_NOW) node.stamp = new Stamp(mtime, mtimeNs)
  else if (mtime !== undefined || size !== undefined) node.stamp = undefined
}

function utimens(node: Node, set: SetAttr): Result {
  const r = locate(node, '')
  if (r < 0) return r
  const atimeNs = set.atime === undefined ? UTIME_OMIT : set.atimeNs
  const mtimeNs = set.mtime === undefined ? UTIME_OMIT : set.mtimeNs
  const { fd, name } = place
  return name.length === 0
    ? utimensPath(fd, set.atime ?? 0, atimeNs, set.mtime ?? 0, mtimeNs)
    : utimensAt(fd, name, set.atime ?? 0, atimeNs, set.mtime ?? 0, mtimeNs)
}
