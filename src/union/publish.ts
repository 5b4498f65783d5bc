/** The third verb: build the new thing in the workdir, then rename it into the upper, consuming a whiteout that stands there. */

import {
  EEXIST,
  ENOENT,
  EPERM,
  O_CREAT,
  O_NOFOLLOW,
  O_WRONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFMT,
} from '../abi/linux.js'
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  OCI_OPAQUE,
  OCI_WHITEOUT_PREFIX,
  OPAQUE,
  OPAQUE_YES,
} from '../abi/overlay.js'
import { close, open } from '../sys/file.js'
import { renameAt, unlinkAt } from '../sys/name.js'
import { setXattr } from '../sys/xattr.js'
import type { Name, Result } from '../vfs.js'
import { copyUp } from './copyup.js'
import type { Core } from './core.js'
import type { Birth } from './inherit.js'
import type { Layer } from './layer.js'
import type { Dir } from './node.js'
import { setIdentity } from './override.js'
import { Found, findTop, type UpperWhiteout } from './resolve.js'
import { isOciMark } from './whiteout.js'
import { discard, type Workdir } from './workdir.js'

const found = new Found()

/**
 * Makes ready to create `name`: the directory lives in the upper, and the name is free.
 *
 * @returns what the upper has at the name, or -EEXIST, -ENOENT of a removed directory, -EPERM for a name that the
 *   upper's whiteout form takes for a mark
 */
export function prepare(core: Core, parent: Dir, name: Name): UpperWhiteout | Result {
  if (parent.removed) return -ENOENT
  const up = copyUp(core, parent)
  if (up < 0) return up
  if (isOciMark(parent.upperLoc, name)) return -EPERM
  if (parent.listing !== undefined && parent.upperLoc.whiteouts === false)
    return parent.listing.find(name) < 0 ? 'none' : -EEXIST
  const r = findTop(parent.locs, name, found, 0)
  if (r >= 0) return -EEXIST
  return r === -ENOENT ? found.upperWhiteout : r
}

/** Gives a file built in the workdir its owner, mode and ACLs. */
export function bestow(core: Core, workdir: Workdir, temporary: Name, birth: Birth, rdev = 0): Result {
  const upper = core.stack.upper as Layer
  let r = setIdentity(upper, workdir.fd, temporary, birth.uid, birth.gid, birth.mode, rdev)
  if (r >= 0 && birth.accessAcl !== undefined)
    r = setXattr(workdir.fd, temporary, ACL_ACCESS, birth.accessAcl)
  if (r >= 0 && birth.defaultAcl !== undefined)
    r = setXattr(workdir.fd, temporary, ACL_DEFAULT, birth.defaultAcl)
  return r
}

/** Marks a directory as hiding what the layers below have in it. */
export function setOpaque(core: Core, dirfd: number, name: Name): Result {
  if (core.workdir?.namespace !== undefined)
    return setXattr(dirfd, name, core.mark(OPAQUE), Buffer.from(OPAQUE_YES))
  const dir = open(dirfd, name, O_NOFOLLOW)
  if (dir < 0) return dir
  const fd = open(dir, OCI_OPAQUE, O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600)
  close(dir)
  return fd < 0 ? fd : close(fd)
}

/** Renames `temporary` to its place, over a whiteout where one stands there. On failure it is discarded. */
export function publish(
  core: Core,
  workdir: Workdir,
  temporary: Name,
  parent: Dir,
  name: Name,
  mode: number,
  whiteout: UpperWhiteout,
): Result {
  const fd = parent.upperLoc.fd()
  let r: Result = fd
  if (fd >= 0) {
    const isDir = (mode & S_IFMT) === S_IFDIR
    // What the whiteout hid must stay hidden; a plain new directory needs no mark.
    if (isDir && whiteout !== 'none') r = setOpaque(core, workdir.fd, temporary)
    if (r >= 0) r = place(workdir, temporary, fd, name, isDir, whiteout)
  }
  if (r < 0) discard(workdir, temporary)
  return r < 0 ? r : 0
}

function place(
  workdir: Workdir,
  temporary: Name,
  fd: number,
  name: Name,
  isDir: boolean,
  whiteout: UpperWhiteout,
): Result {
  if (whiteout !== 'object') {
    const r = renameAt(workdir.fd, temporary, fd, name, RENAME_NOREPLACE)
    if (r === 0 && whiteout === 'oci') unlinkAt(fd, OCI_WHITEOUT_PREFIX + name)
    return r
  }
  if (!isDir) return renameAt(workdir.fd, temporary, fd, name)
  const r = renameAt(workdir.fd, temporary, fd, name, RENAME_EXCHANGE)
  return r === 0 ? unlinkAt(workdir.fd, temporary) : r
}
