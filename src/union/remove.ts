/** unlink and rmdir: copy-up of the directory, then hide. */

import {
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  S_IFLNK,
} from '../abi/linux.js'
import { open } from '../sys/file.js'
import { Attr, Entry, type Name, type Result } from '../vfs.js'
import { copyUp, copyUpName } from './copyup.js'
import type { Core } from './core.js'
import { openHandles, openNode } from './descriptors.js'
import { keepsNames } from './flags.js'
import { hide, type InUpper, lowerHas } from './hide.js'
import { isCounted, leaveIndex } from './index.js'
import { readListing } from './listing.js'
import { forget, lookup, statRaw } from './lookup.js'
import { containerOf, Dir, type Node, removeName } from './node.js'

const entry = new Entry()

/** The node that a name of a directory shows; a lookup that is not counted. Give it back to `unhold` when done. */
export function hold(core: Core, parent: Dir, name: Name): Node | Result {
  const known = parent.children?.get(name)
  if (known !== undefined) {
    known.lookups++
    return known
  }
  const r = lookup(core, parent, name, entry)
  return r < 0 ? r : (core.table.get(entry.node) as Node)
}

export const unhold = (core: Core, node: Node): void => forget(core, node, 1)

export function unlink(core: Core, parent: Dir, name: Name): Result {
  return withNode(core, parent, name, (node) =>
    node instanceof Dir ? -EISDIR : erase(core, parent, name, node),
  )
}

export function rmdir(core: Core, parent: Dir, name: Name): Result {
  return withNode(core, parent, name, (node) => {
    if (!(node instanceof Dir)) return -ENOTDIR
    const empty = checkEmpty(node)
    // A disk looks at the directory first that the name goes from.
    if (empty === -ENOTEMPTY && keepsNames(parent)) return -EPERM
    return empty < 0 ? empty : erase(core, parent, name, node)
  })
}

function withNode(core: Core, parent: Dir, name: Name, act: (node: Node) => Result): Result {
  if (parent.removed) return -ENOENT
  const up = copyUp(core, parent)
  if (up < 0) return up
  const node = hold(core, parent, name)
  if (typeof node === 'number') return node
  const r = act(node)
  unhold(core, node)
  return r
}

/** 0 where a directory shows nothing (whiteouts do not count), -ENOTEMPTY, or -errno. */
export function checkEmpty(dir: Dir): Result {
  const listing = dir.listing ?? readListing(dir.locs)
  if (typeof listing === 'number') return listing
  return listing.count === 0 ? 0 : -ENOTEMPTY
}

/** What the upper has at one name of a node. */
export function inUpperAt(node: Node, parent: Dir, name: Name): InUpper {
  if (node instanceof Dir) return node.inUpper ? 'directory' : 'nothing'
  return containerOf(node, parent, name)?.layer.writable ? 'file' : 'nothing'
}

function erase(core: Core, parent: Dir, name: Name, node: Node): Result {
  let r = prepareLoss(core, node, parent, name)
  if (r < 0) return r
  const below = lowerHas(parent, name)
  if (below < 0) return below
  const inUpper = inUpperAt(node, parent, name)
  writeEpitaph(node)
  if (node instanceof Dir) node.locs[0]?.drop()
  r = hide(core, parent, name, inUpper, below === 1)
  if (r < 0) return r
  bury(core, parent, name, node, inUpper)
  return 0
}

/**
 * Makes ready for a file to lose a name: where its links are counted in the index it has that name in the upper, and
 * what is open of it does not depend on a name.
 */
export function prepareLoss(core: Core, node: Node, parent: Dir, name: Name): Result {
  if (isCounted(core, node)) {
    const r = copyUpName(core, node, parent, name, 'meta')
    if (r < 0) return r
  }
  if (node.more !== undefined || node.handles === undefined) return 0
  const r = node.inUpper ? copyUp(core, node, 'all') : 0
  return r < 0 ? r : openHandles(core, node)
}

/** Keeps the attributes that a file without a name and without an open handle is still asked for. */
export function writeEpitaph(node: Node): void {
  if (node.more !== undefined) return
  const attr = node.epitaph ?? new Attr()
  if (statRaw(node, attr) === 0) node.epitaph = attr
}

/**
 * Keeps a held file open whose name another file is about to take, if the kernel knows it. Who looked the name up just before comes
 * by the node, and must not find nothing there: rename(2) replaces a name without a moment in which it is missing.
 */
export function keepOpen(core: Core, node: Node): void {
  if (node instanceof Dir || node.more !== undefined || node.lookups < 2 || node.anchor >= 0) return
  if (node.isRegular) node.anchor = openNode(core, node, O_RDONLY)
  else if (node.type === S_IFLNK) node.anchor = open(node.home.fd(), node.homeName, O_PATH | O_NOFOLLOW)
}

/** Takes a name that is gone from disk out of the tables. */
export function bury(core: Core, parent: Dir, name: Name, node: Node, inUpper: InUpper): void {
  parent.listing?.remove(name)
  removeName(node, parent, name)
  if (node instanceof Dir) {
    node.removed = true
    core.dropListing(node)
    return
  }
  if (inUpper === 'nothing') core.table.hideLink(node)
  else {
    if (node.epitaph !== undefined) node.epitaph.nlink--
    leaveIndex(node)
  }
}
