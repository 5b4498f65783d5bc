/** Owner, mode, times, xattrs and ACLs of a file, carried from one layer to another; no failure is swallowed. */

import { EINVAL, EOPNOTSUPP, EOVERFLOW, S_IFLNK, S_IFMT } from '../abi/linux.js'
import { ACL_ACCESS, ACL_DEFAULT, CAPABILITY, FUSE_OVERLAYFS_PREFIX, overlayPrefix } from '../abi/overlay.js'
import { type IdMap, mapAcl, mapCapability } from '../idmap.js'
import { utimensAt } from '../sys/stat.js'
import { readXattr, removeXattr, setXattr, xattrNames } from '../sys/xattr.js'
import type { Attr, Name, Result } from '../vfs.js'
import { setIdentity, setMode, setOwner, xattrOnDisk, xattrShown } from './override.js'

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

/** Whether an xattr is part of a file's content, not of the layer format. */
export const isContent = (xattr: string): boolean => !isInternal(xattr) || isEscaped(xattr)

/** How the ids on disk of a layer, or of a directory that becomes one, show. */
export interface Owners {
  readonly uids: IdMap
  readonly gids: IdMap
  readonly override?: string | undefined
}

/**
 * Gives a new file the metadata of another. Owners keep their shown ids: they go through the source's map and back
 * through the target's.
 *
 * @param dirfd and fromName as in sys/xattr; @param attr of the source, as on disk
 * @param toFd directory of the new file, by `name`
 * @param wanted whether an xattr is carried over; a layer format's own are not
 * @returns -EOVERFLOW where the target cannot store a shown id
 */
export function copyMetadata(
  from: Owners,
  dirfd: number,
  fromName: Name,
  attr: Attr,
  to: Owners | undefined,
  toFd: number,
  name: Name,
  wanted = isContent,
): Result {
  if (to === undefined) return -EINVAL
  const uid = to.uids.toDisk(from.uids.toShown(attr.uid))
  const gid = to.gids.toDisk(from.gids.toShown(attr.gid))
  if (uid < 0 || gid < 0) return -EOVERFLOW
  const plain = to.override === undefined
  let r = plain
    ? setOwner(to, toFd, name, uid, gid)
    : setIdentity(to, toFd, name, uid, gid, attr.mode, attr.rdev)
  if (r < 0) return r
  r = copyXattrs(from, dirfd, fromName, to, toFd, name, wanted)
  if (r < 0) return r
  r = utimensAt(toFd, name, attr.atime, attr.atimeNs, attr.mtime, attr.mtimeNs)
  // Last: a mode may forbid its owner the rest.
  if (r < 0 || !plain || (attr.mode & S_IFMT) === S_IFLNK) return r
  return setMode(to, toFd, name, attr.mode & 0o7777)
}

/** The xattrs of a file, ACLs among them, for a new file: arguments as copyMetadata's. */
export function copyXattrs(
  from: Owners,
  dirfd: number,
  fromName: Name,
  to: Owners,
  toFd: number,
  name: Name,
  wanted = isContent,
): Result {
  const names = xattrNames(dirfd, fromName)
  if (typeof names === 'number') return names === -EOPNOTSUPP ? 0 : names
  for (const xattr of names) {
    const shown = xattrShown(from, xattr)
    const kept = shown === undefined ? undefined : xattrOnDisk(to, shown)
    if (shown === undefined || kept === undefined || !wanted(xattr)) continue
    const value = readXattr(dirfd, fromName, xattr)
    if (typeof value === 'number') return value
    let r = mapXattr(shown, value, from, 'toShown')
    if (r === 0) r = mapXattr(shown, value, to, 'toDisk')
    if (r === 0) r = setXattr(toFd, name, kept, value)
    if (r < 0) return r
  }
  return 0
}

/** Takes from a file that somebody else has copied from one layer to another the xattrs that `copyXattrs` does not give. */
export function dropStrange(from: Owners, to: Owners, fd: number): Result {
  const names = xattrNames(fd, '')
  if (typeof names === 'number') return names === -EOPNOTSUPP ? 0 : names
  for (const xattr of names) {
    const shown = xattrShown(from, xattr)
    if (isContent(xattr) && shown !== undefined && xattrOnDisk(to, shown) === xattr) continue
    const r = removeXattr(fd, '', xattr)
    if (r < 0) return r
  }
  return 0
}

/** Maps the ids inside an xattr's value in place; those that hold none stay as they are. */
export function mapXattr(
  xattr: string,
  value: Buffer,
  layer: Owners,
  direction: 'toShown' | 'toDisk',
): Result {
  if (xattr === ACL_ACCESS || xattr === ACL_DEFAULT) return mapAcl(value, layer.uids, layer.gids, direction)
  if (xattr === CAPABILITY) return mapCapability(value, layer.uids, direction)
  return 0
}
