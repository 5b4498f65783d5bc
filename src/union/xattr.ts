/** Extended attributes as users see them: a layer format's own are hidden, a user's of that kind escaped as the kernel does. */

import { EINVAL, ENODATA, EOPNOTSUPP, EPERM, ERANGE, EROFS, S_ISGID, XATTR_SIZE_MAX } from '../abi/linux.js'
import { ACL_ACCESS, ACL_DEFAULT, ESCAPE, FUSE_OVERLAYFS_PREFIX, overlayPrefix } from '../abi/overlay.js'
import * as sys from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { copyUp } from './copyup.js'
import type { Core } from './core.js'
import type { Layer } from './layer.js'
import type { Loc } from './loc.js'
import { locate, place } from './locate.js'
import { isEscaped, isInternal, mapXattr } from './metadata.js'
import { Dir, type Node } from './node.js'
import { type Kept, setMode, statIn, xattrOnDisk, xattrShown } from './override.js'

const PREFIXES = [overlayPrefix('trusted'), overlayPrefix('user')] as const

/** The name on disk for the one a user says; undefined where users may not have it. */
function toDisk(layer: Kept, name: Name): Name | undefined {
  for (const prefix of PREFIXES)
    if (name.startsWith(prefix)) return prefix + ESCAPE + name.slice(prefix.length)
  return name.startsWith(FUSE_OVERLAYFS_PREFIX) ? undefined : xattrOnDisk(layer, name)
}

/** The name a user sees for one on disk; undefined where it is hidden. */
function toShown(node: Node, name: Name): Name | undefined {
  if (!isInternal(name)) return xattrShown(layerOf(node), name)
  if (!isEscaped(name)) return undefined
  const prefix = name.startsWith(PREFIXES[0]) ? PREFIXES[0] : PREFIXES[1]
  return prefix + name.slice(prefix.length + ESCAPE.length)
}

/** The layer that holds a node's metadata. */
const layerOf = (node: Node): Layer => (node instanceof Dir ? (node.locs[0] as Loc) : node.home).layer

/** Names that a list of a file's xattrs holds where it has them. Of others the filesystem says whether it knows them. */
const LISTED = /^(user|trusted|security)\.|^system\.posix_acl_/

export function getxattr(node: Node, name: Name, dst: Buffer): Result {
  const xattr = toDisk(layerOf(node), name)
  if (xattr === undefined) return -ENODATA
  const listed = LISTED.test(name)
  if (listed && node.bare === true) return -ENODATA
  const r = locate(node, '.')
  if (r < 0) return r
  // Most files have none: then one call answers for all.
  if (node.bare === undefined) node.bare = visibleNames(node) === ''
  if (listed && node.bare) return -ENODATA
  const n = sys.getXattr(place.fd, place.name, xattr, dst)
  if (n <= 0 || dst.length === 0) return n
  const mapped = mapXattr(name, dst.subarray(0, n), layerOf(node), 'toShown')
  return mapped < 0 ? mapped : n
}

const names = Buffer.alloc(XATTR_SIZE_MAX)

export function listxattr(node: Node, dst: Buffer): Result {
  if (node.bare === true) return 0
  const r = locate(node, '.')
  if (r < 0) return r
  const shown = visibleNames(node)
  if (typeof shown === 'number') return shown
  node.bare = shown === ''
  if (dst.length === 0) return shown.length
  return shown.length > dst.length ? -ERANGE : dst.write(shown, 0, 'latin1')
}

/** The names that users see of the file at `place`, each NUL-ended. */
function visibleNames(node: Node): string | Result {
  const n = sys.listXattr(place.fd, place.name, names)
  if (n <= 0) return n === 0 || n === -EOPNOTSUPP ? '' : n
  let shown = ''
  for (const name of names.toString('latin1', 0, n - 1).split('\0')) {
    const visible = toShown(node, name)
    if (visible !== undefined) shown += `${visible}\0`
  }
  return shown
}

export function setxattr(
  core: Core,
  node: Node,
  name: Name,
  value: Buffer,
  flags: number,
  killPriv: boolean,
): Result {
  if (core.workdir === undefined) return -EROFS
  const xattr = toDisk(core.stack.upper as Kept, name)
  if (xattr === undefined) return name === ACL_ACCESS || name === ACL_DEFAULT ? -EOPNOTSUPP : -EPERM
  let r = raise(core, node)
  if (r < 0) return r
  let stored = value
  if (name === ACL_ACCESS || name === ACL_DEFAULT || name.startsWith('security.')) {
    stored = Buffer.from(value)
    r = mapXattr(name, stored, layerOf(node), 'toDisk')
    if (r < 0) return -EINVAL
  }
  node.bare = false
  r = sys.setXattr(place.fd, place.name, xattr, stored, flags)
  if (r < 0) return r
  if (name === ACL_DEFAULT && node instanceof Dir) node.defaultAcl = undefined
  return name === ACL_ACCESS && killPriv ? dropSetgid(core.stack.upper as Kept) : r
}

const scratch = new Attr()

/** A change of the access ACL by somebody outside the group takes set-group-id away. The node is at `place`. */
function dropSetgid(upper: Kept): Result {
  const r = statIn(upper, place.fd, place.name, scratch)
  if (r < 0 || (scratch.mode & S_ISGID) === 0 || place.name.length === 0) return r
  return setMode(upper, place.fd, place.name, scratch.mode & 0o7777 & ~S_ISGID)
}

export function removexattr(core: Core, node: Node, name: Name): Result {
  let xattr = toDisk(layerOf(node), name)
  if (xattr === undefined) return -ENODATA
  // Nothing is copied up for an xattr that is not there.
  let r = locate(node, '.')
  if (r < 0) return r
  r = sys.getXattr(place.fd, place.name, xattr, nothing)
  if (r < 0) return r
  r = raise(core, node)
  if (r < 0) return r
  xattr = toDisk(core.stack.upper as Kept, name)
  if (xattr === undefined) return -ENODATA
  r = sys.removeXattr(place.fd, place.name, xattr)
  if (name === ACL_DEFAULT && node instanceof Dir) node.defaultAcl = undefined
  return r
}

const nothing = Buffer.alloc(0)

function raise(core: Core, node: Node): Result {
  if (core.workdir === undefined) return -EROFS
  const r = copyUp(core, node, 'meta')
  return r < 0 ? r : locate(node, '.')
}
