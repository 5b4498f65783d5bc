/** The fourth verb: remove a name from the upper, and leave a whiteout where a lower layer still has it. */

import {
  EEXIST,
  ENOENT,
  ENOTEMPTY,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  RENAME_EXCHANGE,
  S_IFCHR,
} from '../abi/linux.js'
import { OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { close, open } from '../sys/file.js'
import { mknodAt, renameAt, rmdirAt, unlinkAt } from '../sys/name.js'
import type { Name, Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Loc } from './loc.js'
import type { Dir } from './node.js'
import { Found, findTop } from './resolve.js'
import { discard, type Workdir } from './workdir.js'

const below = new Found()

/** Whether the layers beneath the upper show `name`: 1, 0, or -errno. The directory lives in the upper. */
export function lowerHas(parent: Dir, name: Name): Result {
  if (!parent.hasLower) return 0
  const { listing } = parent
  const at = listing?.find(name) ?? -1
  if (at >= 0 && listing?.from[at]?.layer.writable === false) return 1
  const r = findTop(parent.locs, name, below, 1)
  if (r >= 0) return 1
  return r === -ENOENT ? 0 : r
}

/** What the upper has at a name that is to go. */
export type InUpper = 'nothing' | 'file' | 'directory'

/**
 * Hides `name`. In one step for the reader, at any crash: the old file, or none. The victim is never copied up.
 *
 * @param whiteout a lower layer has the name
 */
export function hide(core: Core, parent: Dir, name: Name, inUpper: InUpper, whiteout: boolean): Result {
  const workdir = core.workdir as Workdir
  const fd = parent.upperLoc.fd()
  if (fd < 0) return fd
  if (!whiteout) return remove(workdir, fd, name, inUpper)
  if (workdir.form === 'oci') {
    const r = writeOciWhiteout(parent.upperLoc, name)
    return r < 0 ? r : remove(workdir, fd, name, inUpper)
  }
  parent.upperLoc.whiteouts = true
  if (inUpper === 'nothing') return mknodAt(fd, name, S_IFCHR, 0)
  const temporary = workdir.temporary()
  let r = mknodAt(workdir.fd, temporary, S_IFCHR, 0)
  if (r < 0) return r
  r = renameAt(workdir.fd, temporary, fd, name, inUpper === 'directory' ? RENAME_EXCHANGE : 0)
  if (r < 0 || inUpper === 'directory') {
    const discarded = discard(workdir, temporary)
    if (r >= 0) return discarded
  }
  return r
}

/** A directory may still hold whiteouts: it leaves the tree whole and is taken apart in the workdir. */
function remove(workdir: Workdir, fd: number, name: Name, inUpper: InUpper): Result {
  if (inUpper === 'nothing') return 0
  if (inUpper === 'file') return unlinkAt(fd, name)
  const r = rmdirAt(fd, name)
  if (r !== -ENOTEMPTY && r !== -EEXIST) return r
  const temporary = workdir.temporary()
  const moved = renameAt(fd, name, workdir.fd, temporary)
  return moved < 0 ? moved : discard(workdir, temporary)
}

/** Leaves `.wh.NAME`, which hides NAME in the layers below. */
export function writeOciWhiteout(upper: Loc, name: Name): Result {
  upper.ociMarks = true
  upper.whiteouts = true
  const dirfd = upper.fd()
  if (dirfd < 0) return dirfd
  const fd = open(dirfd, OCI_WHITEOUT_PREFIX + name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
  if (fd === -EEXIST) return 0
  return fd < 0 ? fd : close(fd)
}
