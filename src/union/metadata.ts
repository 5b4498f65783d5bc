/** Owner, mode, times, xattrs and ACLs of a file, carried from one layer to another; no failure is swallowed. */

import { EINVAL, EOPNOTSUPP, EOVERFLOW, S_IFLNK, S_IFMT } from '../abi/linux.js'
import { ACL_ACCESS, ACL_DEFAULT, CAPABILITY, FUSE_OVERLAYFS_PREFIX, overlayPrefix } from '../abi/overlay.js'
import { mapAcl, mapCapability } from '../idmap.js'
import { chmodAt, chownAt, utimensAt } from '../sys/stat.js'
import { readXattr, setXattr, xattrNames } from '../sys/xattr.js'
import type { Attr, Name, Result } from '../vfs.js'
import type { Layer } from './layer.js'
import type { Workdir } from './workdir.js'

const INTERNAL_PREFIXES: readonly string[] = [
  overlayPrefix('trusted'),
  overlayPrefix('user'),
  FUSE_OVERLAYFS_PREFIX,
]

/** Whether an xattr is a layer format's own, never shown under its name on disk. */
export const isInternal = (xattr: string): boolean =>
  INTERNAL_PREFIXES.some((prefix) => xattr.startsWith(prefix))

/** The internal xattrs that hold a user's own, escaped: they are content and are copied. */
export const isEscaped = (xattr: string): boolean =>
  xattr.startsWith(`${overlayPrefix('trusted')}overlay.`) ||
  xattr.startsWith(`${overlayPrefix('user')}overlay.`)

/**
 * Gives `name` in the workdir the metadata of a lower file. Owners keep their shown ids: they go through the lower's
 * map and back through the upper's.
 *
 * @param dirfd and fromName as in sys/xattr; @param attr of the source, as on disk
 * @returns -EOVERFLOW where the upper cannot store a shown id
 */
export function copyMetadata(
  lower: Layer,
  dirfd: number,
  fromName: Name,
  attr: Attr,
  workdir: Workdir,
  upper: Layer | undefined,
  name: Name,
): Result {
  if (upper === undefined) return -EINVAL
  const uid = upper.uids.toDisk(lower.uids.toShown(attr.uid))
  const gid = upper.gids.toDisk(lower.gids.toShown(attr.gid))
  if (uid < 0 || gid < 0) return -EOVERFLOW
  let r = chownAt(workdir.fd, name, uid, gid)
  if (r < 0) return r
  if ((attr.mode & S_IFMT) !== S_IFLNK) {
    r = chmodAt(workdir.fd, name, attr.mode & 0o7777)
    if (r < 0) return r
  }
  r = copyXattrs(lower, dirfd, fromName, workdir, upper, name)
  if (r < 0) return r
  return utimensAt(workdir.fd, name, attr.atime, attr.atimeNs, attr.mtime, attr.mtimeNs)
}

function copyXattrs(
  lower: Layer,
  dirfd: number,
  fromName: Name,
  workdir: Workdir,
  upper: Layer,
  name: Name,
): Result {
  const names = xattrNames(dirfd, fromName)
  if (typeof names === 'number') return names === -EOPNOTSUPP ? 0 : names
  for (const xattr of names) {
    if (isInternal(xattr) && !isEscaped(xattr)) continue
    const value = readXattr(dirfd, fromName, xattr)
    if (typeof value === 'number') return value
    let r = mapXattr(xattr, value, lower, 'toShown')
    if (r === 0) r = mapXattr(xattr, value, upper, 'toDisk')
    if (r === 0) r = setXattr(workdir.fd, name, xattr, value)
    if (r < 0) return r
  }
  return 0
}

/** Maps the ids inside an xattr's value in place; those that hold none stay as they are. */
export function mapXattr(
  xattr: string,
  value: Buffer,
  layer: Layer,
  direction: 'toShown' | 'toDisk',
): Result {
  if (xattr === ACL_ACCESS || xattr === ACL_DEFAULT) return mapAcl(value, layer.uids, layer.gids, direction)
  if (xattr === CAPABILITY) return mapCapability(value, layer.uids, direction)
  return 0
}
