/** Marks as they are written into a new layer: whiteouts and opaque directories, in the one form or the other. */

import {
  EEXIST,
  EINVAL,
  ENODATA,
  EOPNOTSUPP,
  EPERM,
  O_CREAT,
  O_NOFOLLOW,
  O_WRONLY,
  S_IFCHR,
} from '../abi/linux.js'
import {
  FUSE_OVERLAYFS_OPAQUE,
  OCI_OPAQUE,
  OCI_WHITEOUT_PREFIX,
  OPAQUE,
  OPAQUE_YES,
  type OverlayNamespace,
  overlayPrefix,
} from '../abi/overlay.js'
import { close, open } from '../sys/file.js'
import { mknodAt } from '../sys/name.js'
import { removeXattr, setXattr } from '../sys/xattr.js'
import { FORM_XATTRS, type WhiteoutForm } from '../union/layer.js'
import type { Name, Result } from '../vfs.js'

const NAMESPACES: readonly OverlayNamespace[] = ['trusted', 'user']

/** Errors of an xattr that mean "not in this namespace", so that the next one is tried. */
const NOT_HERE: ReadonlySet<Result> = new Set([-EPERM, -EOPNOTSUPP])

const touch = (dirfd: number, name: Name): Result => {
  const fd = open(dirfd, name, O_CREAT | O_WRONLY | O_NOFOLLOW, 0o644)
  return fd < 0 ? fd : close(fd)
}

/** Hides `name` in the layers below. Nothing may stand there but, in the form `oci`, anything. */
export function writeWhiteout(form: WhiteoutForm, dirfd: number, name: Name): Result {
  if (form === 'oci') return touch(dirfd, OCI_WHITEOUT_PREFIX + name)
  const r = mknodAt(dirfd, name, S_IFCHR, 0)
  return r === -EEXIST ? 0 : r
}

/** Hides all that the layers below have in a directory. */
export function writeOpaque(form: WhiteoutForm, dirfd: number): Result {
  if (form === 'oci') return touch(dirfd, OCI_OPAQUE)
  let r: Result = -EINVAL
  for (const namespace of NAMESPACES) {
    r = setXattr(dirfd, '.', overlayPrefix(namespace) + OPAQUE, Buffer.from(OPAQUE_YES))
    if (r === 0 || !NOT_HERE.has(r)) return r
  }
  return r
}

/** Removes the xattrs by which a directory is opaque. */
export function removeOpaqueXattrs(dirfd: number): Result {
  const xattrs = [...NAMESPACES.map((ns) => overlayPrefix(ns) + OPAQUE), FUSE_OVERLAYFS_OPAQUE]
  return removeAll(dirfd, xattrs)
}

/** Declares that all whiteouts of a layer have this form, so that names of the other are plain files. */
export function declareForm(form: WhiteoutForm, rootFd: number): Result {
  let r: Result = -EINVAL
  for (const xattr of FORM_XATTRS) {
    r = setXattr(rootFd, '.', xattr, Buffer.from(form))
    if (r === 0 || !NOT_HERE.has(r)) return r
  }
  return r
}

/** Takes the declaration away: whiteouts of every form are read then. */
export const undeclareForm = (rootFd: number): Result => removeAll(rootFd, FORM_XATTRS)

function removeAll(dirfd: number, xattrs: readonly string[]): Result {
  for (const xattr of xattrs) {
    const r = removeXattr(dirfd, '.', xattr)
    if (r < 0 && r !== -ENODATA && !NOT_HERE.has(r)) return r
  }
  return 0
}
