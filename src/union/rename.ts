/** rename: copy-up of the source and of both directories, then one renameat2(2), whose whiteout hides what lies beneath. */

import {
  dtOfMode,
  E2BIG,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  EPERM,
  EXDEV,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
} from '../abi/linux.js'
import { OCI_WHITEOUT_PREFIX, REDIRECT } from '../abi/overlay.js'
import { renameAt, unlinkAt } from '../sys/name.js'
import { emptyDir } from '../sys/remove.js'
import { stat, statAt } from '../sys/stat.js'
import { setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { copyUp, raiseRenamed } from './copyup.js'
import type { Core } from './core.js'
import { lowerHas, writeOciWhiteout } from './hide.js'
import type { Loc } from './loc.js'
import { addName, Dir, letGo, type Node, removeName } from './node.js'
import { setOpaque } from './publish.js'
import { lowerPath } from './redirect.js'
import { bury, checkEmpty, hold, inUpperAt, keepOpen, prepareLoss, unhold, writeEpitaph } from './remove.js'
import { markImpure } from './upperdir.js'
import { isOciMark, isWhiteoutDevice } from './whiteout.js'
import type { Workdir } from './workdir.js'

/** One end of a rename. */
interface End {
  parent: Dir
  name: Name
}

/**
 * renameat2(2).
 *
 * @returns -EXDEV for a directory that lower layers show in, where no redirect may be written; -EINVAL for
 *   RENAME_WHITEOUT, as overlayfs answers: the whiteout would be taken for one of ours
 */
export function rename(core: Core, from: End, to: End, flags: number): Result {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) return -EINVAL
  if (from.parent.removed || to.parent.removed) return -ENOENT
  const source = hold(core, from.parent, from.name)
  if (typeof source === 'number') return source
  const target = hold(core, to.parent, to.name)
  let r: Result
  if (typeof target === 'number' && target !== -ENOENT) r = target
  else if (typeof target === 'number')
    r = (flags & RENAME_EXCHANGE) !== 0 ? -ENOENT : move(core, from, source, to, undefined)
  else {
    r =
      (flags & RENAME_EXCHANGE) !== 0
        ? exchange(core, from, source, to, target)
        : over(core, from, source, to, target, flags)
    unhold(core, target)
  }
  unhold(core, source)
  return r
}

function over(core: Core, from: End, source: Node, to: End, target: Node, flags: number): Result {
  if ((flags & RENAME_NOREPLACE) !== 0) return -EEXIST
  if (source === target) return 0
  if (target instanceof Dir) {
    if (!(source instanceof Dir)) return -EISDIR
    const empty = checkEmpty(target)
    if (empty < 0) return empty
  } else if (source instanceof Dir) return -ENOTDIR
  return move(core, from, source, to, target)
}

/** Brings both directories and what is moved into the upper. */
function raise(core: Core, from: End, to: End, source: Node, target?: Node): Result {
  for (const node of [source, target])
    if (node instanceof Dir && node.hasLower && !core.policy.redirect) return -EXDEV
  let r = copyUp(core, from.parent)
  if (r >= 0) r = copyUp(core, to.parent)
  if (r >= 0) r = raiseRenamed(core, source, from)
  if (r >= 0 && target !== undefined) r = raiseRenamed(core, target, to)
  if (r < 0) return r
  return isOciMark(to.parent.upperLoc, to.name) ? -EPERM : 0
}

/** A directory keeps what it shows at its new place: by redirect, or, having no lower part, by hiding what lies there. */
function prepareDir(core: Core, dir: Dir, to: End): Result {
  const fd = dir.upperLoc.fd()
  if (fd < 0) return fd
  if (dir.merged) {
    const path = lowerPath(dir)
    if (typeof path === 'number') return path
    const r = setXattr(fd, '.', core.mark(REDIRECT), Buffer.from(path, 'latin1'))
    return r === -ENOSPC || r === -E2BIG ? -EXDEV : r
  }
  const below = lowerHas(to.parent, to.name)
  return below === 1 ? setOpaque(core, fd, '.') : below
}

const scratch = new Attr()

function move(core: Core, from: End, source: Node, to: End, target: Node | undefined): Result {
  let r = raise(core, from, to, source)
  if (r >= 0 && target !== undefined) r = prepareLoss(core, target, to.parent, to.name)
  if (r < 0) return r
  const whiteout = lowerHas(from.parent, from.name)
  if (whiteout < 0) return whiteout
  if (source instanceof Dir) {
    r = prepareDir(core, source, to)
    if (r < 0) return r
  }
  r = noteOrigin(core, from.parent, to.parent)
  if (r < 0) return r
  const inUpper = target === undefined ? 'nothing' : inUpperAt(target, to.parent, to.name)
  if (target !== undefined) {
    writeEpitaph(target)
    keepOpen(core, target)
  }
  if (target instanceof Dir && inUpper === 'directory') {
    r = clearForReplacement(core, target, to)
    if (r < 0) return r
  }
  r = renameInUpper(core.workdir as Workdir, from, to, source instanceof Dir, whiteout === 1)
  if (r < 0) {
    if (target !== undefined) letGo(target)
    return r
  }
  if (target !== undefined) bury(core, to.parent, to.name, target, inUpper)
  from.parent.listing?.remove(from.name)
  relocate(source, from, to)
  enlist(source, to)
  return 0
}

/** An empty directory of the upper may hold whiteouts: opaque, it shows the same without them. */
function clearForReplacement(core: Core, target: Dir, to: End): Result {
  const fd = to.parent.upperLoc.fd()
  if (fd < 0) return fd
  if (target.merged) {
    const r = setOpaque(core, fd, to.name)
    if (r < 0) return r
  }
  target.upperLoc.drop()
  return emptyDir(fd, to.name)
}

function renameInUpper(workdir: Workdir, from: End, to: End, isDir: boolean, whiteout: boolean): Result {
  const fromFd = from.parent.upperLoc.fd()
  if (fromFd < 0) return fromFd
  const toFd = to.parent.upperLoc.fd()
  if (toFd < 0) return toFd
  const oci = workdir.form === 'oci'
  if (whiteout && oci) {
    const r = writeOciWhiteout(from.parent.upperLoc, from.name)
    if (r < 0) return r
  }
  const overWhiteout = statAt(toFd, to.name, scratch) === 0 && isWhiteoutDevice(scratch)
  if (whiteout) from.parent.upperLoc.whiteouts = true
  let r: Result
  if (overWhiteout && isDir) {
    // The whiteout that stood at the target is the one that the source needs.
    r = renameAt(fromFd, from.name, toFd, to.name, RENAME_EXCHANGE)
    if (r >= 0 && (!whiteout || oci)) r = unlinkAt(fromFd, from.name)
  } else r = renameAt(fromFd, from.name, toFd, to.name, whiteout && !oci ? RENAME_WHITEOUT : 0)
  if (r < 0) {
    if (whiteout && oci) unlinkAt(fromFd, OCI_WHITEOUT_PREFIX + from.name)
    return r
  }
  if (to.parent.upperLoc.layer.ociWhiteouts) unlinkAt(toFd, OCI_WHITEOUT_PREFIX + to.name)
  return 0
}

function exchange(core: Core, from: End, source: Node, to: End, target: Node): Result {
  let r = raise(core, from, to, source, target)
  if (r < 0) return r
  if (source instanceof Dir) r = prepareDir(core, source, to)
  if (r >= 0 && target instanceof Dir) r = prepareDir(core, target, from)
  if (r >= 0) r = noteOrigin(core, from.parent, to.parent)
  if (r >= 0) r = noteOrigin(core, to.parent, from.parent)
  if (r < 0) return r
  const fromFd = from.parent.upperLoc.fd()
  const toFd = to.parent.upperLoc.fd()
  if (fromFd < 0 || toFd < 0) return Math.min(fromFd, toFd)
  r = renameAt(fromFd, from.name, toFd, to.name, RENAME_EXCHANGE)
  if (r < 0 || source === target) return r
  removeName(target, to.parent, to.name)
  relocate(source, from, to)
  addName(target, from.parent, from.name, from.parent.upperLoc)
  moveLoc(target, from)
  enlist(source, to)
  enlist(target, from)
  return 0
}

/** A file that notes its origin makes its new directory one that holds such. */
const noteOrigin = (core: Core, from: Dir, to: Dir): Result =>
  from === to ? 0 : markImpure(core, to.upperLoc)

function relocate(node: Node, from: End, to: End): void {
  removeName(node, from.parent, from.name)
  addName(node, to.parent, to.name, to.parent.upperLoc)
  moveLoc(node, to)
}

function moveLoc(node: Node, to: End): void {
  if (!(node instanceof Dir)) return
  node.container = to.parent.upperLoc
  node.upperLoc.parent = to.parent.upperLoc
  node.upperLoc.name = to.name
}

/** Enters a moved node into the listing of its new directory. */
function enlist(node: Node, to: End): void {
  const { listing, upperLoc } = to.parent
  if (listing === undefined) return
  const lower = node instanceof Dir && node.merged ? (node.locs[1] as Loc) : undefined
  const fd = lower === undefined ? upperLoc.fd() : lower.fd()
  if (fd < 0 || (lower === undefined ? statAt(fd, to.name, scratch) : stat(fd, scratch)) < 0) return
  listing.add(to.name, scratch.ino, dtOfMode(node.type), upperLoc)
  if (lower !== undefined) listing.originDevs.set(listing.find(to.name), scratch.dev)
}
