/** The second verb: make a node live in the upper, parents first, built in the workdir and renamed into place. */

import {
  dtOfMode,
  EACCES,
  EEXIST,
  EIO,
  EROFS,
  ESTALE,
  EXDEV,
  O_ACCMODE,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RENAME_NOREPLACE,
} from '../abi/linux.js'
import { close, open, replace } from '../sys/file.js'
import { linkAt, renameAt } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import { Attr, type Name, PARKED, type Result } from '../vfs.js'
import { build, type CopyUpData, source } from './build.js'
import type { Core } from './core.js'
import { enterIndex, linkUp, withdraw } from './index.js'
import type { Loc } from './loc.js'
import { completeData, redirectData } from './metacopy.js'
import { containerOf, Dir, type Link, type Node, putFirst } from './node.js'
import { keepTimes, letMove, markImpure } from './upperdir.js'
import { discard, type Workdir } from './workdir.js'

/**
 * Makes a node live in the upper. Its owner as shown, mode, times, xattrs and number stay; the parent's times too.
 * On error nothing has changed.
 *
 * @param data `none`: the content is about to be truncated away, so none is copied; `meta`: data may stay below, where
 *   metacopy is on
 */
export function copyUp(core: Core, node: Node, data: CopyUpData = 'all'): Result {
  if (node.inUpper) {
    const r = data === 'meta' ? 0 : completeData(core, node, data)
    return r === 1 ? moveHandles(node) : r
  }
  const workdir = core.workdir
  if (workdir === undefined) return -EROFS
  const parent = node.parent
  if (parent === undefined) return node instanceof Dir ? -ESTALE : copyUpOrphan(core, workdir, node, data)
  const up = copyUp(core, parent)
  if (up < 0) return up
  const to = parent.upperLoc
  const temporary = node.copying?.temporary ?? workdir.temporary()
  const built = build(core, workdir, node, temporary, data)
  if (built === PARKED) return built
  if (built < 0) {
    discard(workdir, temporary)
    return built
  }
  const toFd = to.fd()
  let r = toFd < 0 ? toFd : markImpure(core, to)
  if (r >= 0 && !(node instanceof Dir)) r = enterIndex(core, node, temporary, source.nlink)
  if (r === 1) {
    r = linkUp(core, node, parent, node.name)
    if (r < 0) withdraw(node)
  } else if (r >= 0) {
    const move = (): Result => renameAt(workdir.fd, temporary, toFd, node.name, RENAME_NOREPLACE)
    r = keepTimes(toFd, node instanceof Dir ? () => letMove(workdir.fd, temporary, move) : move)
  }
  if (r < 0) {
    discard(workdir, temporary)
    return r === -EEXIST ? -EIO : r
  }
  return settle(core, node, parent, to)
}

/**
 * Makes a name of a node stand in the upper before that name is changed: of an indexed file each is linked there by
 * itself, so that its count of links goes with the names of the upper.
 */
export function copyUpName(
  core: Core,
  node: Node,
  parent: Dir,
  name: Name,
  data: CopyUpData = 'all',
): Result {
  if (!node.inUpper) putFirst(node, parent, name)
  const r = copyUp(core, node, data)
  if (r < 0 || node.indexed === undefined) return r
  if (containerOf(node, parent, name)?.layer.writable !== false) return r
  const up = copyUp(core, parent)
  return up < 0 ? up : linkUp(core, node, parent, name)
}

/**
 * Copy-up of a file that gets a new name: data may stay below where a redirect can lead to it.
 *
 * @param at the name that it loses for it, if any
 */
export function raiseRenamed(core: Core, node: Node, at?: { parent: Dir; name: Name }): Result {
  const data = core.policy.redirect ? 'meta' : 'all'
  const r = at === undefined ? copyUp(core, node, data) : copyUpName(core, node, at.parent, at.name, data)
  if (r < 0) return r
  const redirected = redirectData(core, node)
  return redirected === -EXDEV ? copyUp(core, node, 'all') : redirected
}

/** Points a node, built from `source`, at its new place in the upper. */
function settle(core: Core, node: Node, parent: Dir, to: Loc): Result {
  node.container = to
  parent.listing?.copiedUp(node.name, to)
  core.counters.copyUps++
  if (node instanceof Dir) {
    node.locs = [to.child(node.name), ...node.locs]
    ;(node.locs[0] as Loc).made()
    node.defaultAcl = undefined
    return 0
  }
  if (source.nlink > 1) {
    if (node.indexed === undefined) node.extraLinks += source.nlink - 1
    const fd = to.fd()
    if (fd >= 0 && statAt(fd, node.name, source) === 0) {
      core.table.registerLink(node, source.dev, source.ino)
      // A copy that notes no origin is listed by its own number: it shows that one once its node has been forgotten.
      if (node.indexed === undefined) parent.listing?.add(node.name, source.ino, dtOfMode(node.type), to)
    }
  }
  node.lent?.settle()
  const moved = node.dataBelow ? 0 : moveHandles(node)
  return moved < 0 || node.indexed !== undefined ? moved : joinKnownNames(core, node)
}

/** Puts the copied-up file behind every handle of the lower one. */
function moveHandles(node: Node): Result {
  for (const handle of node.handles ?? []) {
    const up = node.home.fd()
    const fd =
      node.anchor >= 0
        ? open(-1, `/proc/self/fd/${node.anchor}`, handle.flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW))
        : up < 0
          ? up
          : open(up, node.homeName, (handle.flags & ~(O_CREAT | O_EXCL)) | O_NOFOLLOW)
    if (fd < 0) return fd
    if (handle.fd < 0) {
      handle.fd = fd
      continue
    }
    const r = replace(fd, handle.fd)
    close(fd)
    if (r < 0) return r
  }
  return 0
}

/** A file without a name: its copy has none either. */
function copyUpOrphan(core: Core, workdir: Workdir, node: Node, data: CopyUpData): Result {
  const temporary = node.copying?.temporary ?? workdir.temporary()
  let r = build(core, workdir, node, temporary, data)
  if (r === PARKED) return r
  const fd = r < 0 ? r : openAnchor(node, workdir.fd, temporary)
  discard(workdir, temporary)
  if (fd < 0) return fd
  node.lent?.settle()
  if (node.anchor >= 0) close(node.anchor)
  node.anchor = fd
  node.container = (core.stack.upper as { root: Loc }).root
  r = moveHandles(node)
  core.counters.copyUps++
  return r
}

/** Xattrs go by no O_PATH descriptor, but the mode of a file may leave nothing else. */
function openAnchor(node: Node, dirfd: number, name: Name): Result {
  const fd = node.isRegular ? open(dirfd, name, O_RDONLY | O_NOFOLLOW) : -EACCES
  return fd === -EACCES ? open(dirfd, name, O_PATH | O_NOFOLLOW) : fd
}

/** After copy-up: moves the further known names of a node to the upper too. */
function joinKnownNames(core: Core, node: Node): Result {
  for (const link of node.more ?? []) {
    if (link.container.layer.writable) continue
    const r = linkInUpper(core, node, link.parent, link.name)
    if (r < 0) return r
    ;(link as Link).container = link.parent.upperLoc
  }
  return 0
}

/** Gives a copied-up file without an index entry one more name in the upper. */
export function linkInUpper(core: Core, node: Node, parent: Dir, name: Name): Result {
  const up = copyUp(core, parent)
  if (up < 0) return up
  const from = node.container.fd()
  if (from < 0) return from
  const to = parent.upperLoc.fd()
  if (to < 0) return to
  const r = keepTimes(to, () => linkAt(from, node.name, to, name))
  if (r < 0 && r !== -EEXIST) return r
  node.extraLinks--
  if (statAt(to, name, copied) === 0)
    parent.listing?.add(name, copied.ino, dtOfMode(node.type), parent.upperLoc)
  return 0
}

const copied = new Attr()

/** Whether an open mode writes. */
export const writes = (flags: number): boolean => (flags & O_ACCMODE) !== O_RDONLY
