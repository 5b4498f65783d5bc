/**
 * Marks that hide what lies beneath, in every form the field reads: char device 0/0, `overlay.whiteout` on an empty
 * file and `overlay.opaque` (overlayfs.rst), `.wh.NAME` and `.wh..wh..opq` (OCI image layer), fuse-overlayfs's own.
 */

import { EOPNOTSUPP, S_IFCHR, S_IFMT, S_IFREG } from '../abi/linux.js'
import {
  FUSE_OVERLAYFS_OPAQUE,
  IMPURE,
  OCI_OPAQUE,
  OCI_WHITEOUT_PREFIX,
  OPAQUE,
  OPAQUE_XWHITEOUTS,
  OPAQUE_YES,
  overlayPrefix,
  REDIRECT,
  WHITEOUT,
} from '../abi/overlay.js'
import { statAt } from '../sys/stat.js'
import { readXattr, xattrNames } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Loc } from './loc.js'

const both = (name: string): readonly string[] => [
  overlayPrefix('trusted') + name,
  overlayPrefix('user') + name,
]
const OPAQUE_XATTRS: readonly string[] = [...both(OPAQUE), FUSE_OVERLAYFS_OPAQUE]
const WHITEOUT_XATTRS = both(WHITEOUT)
const IMPURE_XATTRS = both(IMPURE)

/** Only the privileged namespace is followed: an unprivileged one could lead a privileged mount astray. */
export const REDIRECT_XATTR = overlayPrefix('trusted') + REDIRECT

const scratch = new Attr()

export const isWhiteoutDevice = (attr: Attr): boolean => (attr.mode & S_IFMT) === S_IFCHR && attr.rdev === 0

/** The xattr names of a file, none where its filesystem has no xattrs. */
const namesOf = (dirfd: number, name: Name): string[] | Result => {
  const names = xattrNames(dirfd, name)
  return names === -EOPNOTSUPP ? [] : names
}

/** Reads the marks of a directory: fills `impure`, `xwhiteouts` and `redirects`. @returns 1: opaque, 0: not, -errno */
export function readMarks(loc: Loc): Result {
  const opaque = readXattrMarks(loc)
  return opaque === 0 && isOciOpaque(loc) ? 1 : opaque
}

/** Whether `.wh..wh..opq` stands in a directory. */
export const isOciOpaque = (loc: Loc): boolean =>
  mayHoldOciMarks(loc) && statAt(loc.fd(), OCI_OPAQUE, scratch) === 0

/** As readMarks, without a look for OCI's mark. */
export function readXattrMarks(loc: Loc): Result {
  const fd = loc.fd()
  if (fd < 0) return fd
  const names = namesOf(fd, '.')
  if (typeof names === 'number') return names
  loc.xwhiteouts = false
  loc.impure = names.some((name) => IMPURE_XATTRS.includes(name))
  loc.redirects = names.includes(REDIRECT_XATTR)
  for (const xattr of names) {
    if (!OPAQUE_XATTRS.includes(xattr)) continue
    const value = readXattr(fd, '.', xattr)
    if (typeof value === 'number') return value
    const mark = value.toString('latin1')
    if (mark === OPAQUE_YES) return 1
    if (mark === OPAQUE_XWHITEOUTS) loc.xwhiteouts = true
  }
  return 0
}

/** Whether a found object is a whiteout: a device 0/0, or an empty file so marked in a directory that says it holds such. */
export function isWhiteout(loc: Loc, name: Name, attr: Attr): boolean {
  if (isWhiteoutDevice(attr)) return true
  if (attr.size !== 0 || (attr.mode & S_IFMT) !== S_IFREG) return false
  if (loc.xwhiteouts === undefined && readXattrMarks(loc) < 0) return false
  if (loc.xwhiteouts !== true) return false
  const names = namesOf(loc.fd(), name)
  return typeof names !== 'number' && names.some((x) => WHITEOUT_XATTRS.includes(x))
}

const mayHoldOciMarks = (loc: Loc): boolean => loc.layer.ociWhiteouts && loc.ociMarks !== false

/** Whether a file `.wh.NAME` hides `name` in the layers below. */
export const hasOciWhiteout = (loc: Loc, name: Name): boolean =>
  mayHoldOciMarks(loc) && statAt(loc.fd(), OCI_WHITEOUT_PREFIX + name, scratch) === 0

/** Whether a name is a mark of the OCI form, not a file to show. */
export const isOciMark = (loc: Loc, name: Name): boolean =>
  loc.layer.ociWhiteouts && name.startsWith(OCI_WHITEOUT_PREFIX)
