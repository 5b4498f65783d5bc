/** What a new file takes from its directory: group (set-group-id), default ACL, and the mode that umask or ACL leaves (acl(5)). */

import { ENODATA, EOPNOTSUPP, EOVERFLOW, S_IFDIR, S_IFLNK, S_IFMT, S_ISGID } from '../abi/linux.js'
import { ACL_DEFAULT } from '../abi/overlay.js'
import { readXattr } from '../sys/xattr.js'
import { Attr, type Caller, type Result } from '../vfs.js'
import type { Dir } from './node.js'
import { statIn, xattrOnDisk } from './override.js'

/** How a new file begins. Ids are those to store on disk. */
export class Birth {
  mode = 0
  uid = 0
  gid = 0
  accessAcl: Buffer | undefined
  defaultAcl: Buffer | undefined
}

const parentAttr = new Attr()

/**
 * Fills `out` for a file of `mode` made by `c` in a directory of the upper.
 *
 * @returns -EOVERFLOW where the upper cannot store the caller's ids
 */
export function inherit(c: Caller, parent: Dir, mode: number, out: Birth): Result {
  const fd = parent.upperLoc.fd()
  if (fd < 0) return fd
  const { layer } = parent.upperLoc
  let r = statIn(layer, fd, '.', parentAttr)
  if (r < 0) return r
  const { uids, gids, fosterUid, fosterGid } = layer
  const type = mode & S_IFMT
  out.uid = uids.toDisk(c.uid)
  out.gid = gids.toDisk(c.gid)
  if (c.uid === 0) {
    if (out.uid < 0) out.uid = fosterUid
    if (out.gid < 0) out.gid = fosterGid
  }
  out.mode = mode
  out.accessAcl = undefined
  out.defaultAcl = undefined
  if ((parentAttr.mode & S_ISGID) !== 0) {
    out.gid = parentAttr.gid
    if (type === S_IFDIR) out.mode |= S_ISGID
  }
  if (out.uid < 0 || out.gid < 0) return -EOVERFLOW
  if (type === S_IFLNK) return 0
  r = loadDefaultAcl(parent, fd)
  if (r < 0) return r
  if (parent.defaultAcl === null || parent.defaultAcl === undefined) {
    out.mode &= ~c.umask
    return 0
  }
  applyDefaultAcl(parent.defaultAcl, out)
  if (type === S_IFDIR) out.defaultAcl = parent.defaultAcl
  return 0
}

function loadDefaultAcl(parent: Dir, fd: number): Result {
  if (parent.defaultAcl !== undefined) return 0
  const value =
    xattrOnDisk(parent.upperLoc.layer, ACL_DEFAULT) === undefined ? -ENODATA : readXattr(fd, '.', ACL_DEFAULT)
  if (typeof value !== 'number') parent.defaultAcl = value
  else if (value === -ENODATA || value === -EOPNOTSUPP) parent.defaultAcl = null
  else return value
  return 0
}

// linux/posix_acl_xattr.h
const ACL_HEADER = 4
const ACL_ENTRY = 8
const ACL_USER_OBJ = 0x01
const ACL_GROUP_OBJ = 0x04
const ACL_MASK = 0x10
const ACL_OTHER = 0x20

/** The new file's access ACL: the default one, each class cut down to what the mode asks for. */
function applyDefaultAcl(defaultAcl: Buffer, out: Birth): void {
  const acl = Buffer.from(defaultAcl)
  let groupAt = -1
  let maskAt = -1
  let extended = false
  const limit = (at: number, shift: number): void => {
    const perm = acl.readUInt16LE(at + 2) & (out.mode >> shift)
    acl.writeUInt16LE(perm, at + 2)
    out.mode = (out.mode & ~(7 << shift)) | (perm << shift)
  }
  for (let at = ACL_HEADER; at + ACL_ENTRY <= acl.length; at += ACL_ENTRY) {
    switch (acl.readUInt16LE(at)) {
      case ACL_USER_OBJ:
        limit(at, 6)
        break
      case ACL_OTHER:
        limit(at, 0)
        break
      case ACL_GROUP_OBJ:
        groupAt = at
        break
      case ACL_MASK:
        maskAt = at
        extended = true
        break
      default:
        extended = true
    }
  }
  const groupClass = maskAt >= 0 ? maskAt : groupAt
  if (groupClass >= 0) limit(groupClass, 3)
  if (extended) out.accessAcl = acl
}
