/** Hard links of a lower layer that has been changed: its other names follow into the upper. */

import { dtOfMode, EEXIST } from '../abi/linux.js'
import { linkAt } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { copyUp, keepTimes, markImpure } from './copyup.js'
import type { Core } from './core.js'
import { findIndexed, linkIndexed, readIndexed, writeExtraLinks } from './index.js'
import type { Loc } from './loc.js'
import { originNumber } from './lookup.js'
import { addName, type Dir, type Link, Node } from './node.js'

/** Gives a node of the upper one more name there: one that a lower layer shows for the file it was copied from. */
export function joinUpper(core: Core, node: Node, parent: Dir, name: Name): Result {
  const r = linkInUpper(core, node, parent, name)
  if (r < 0) return r
  addName(node, parent, name, parent.upperLoc)
  return 0
}

/** After copy-up: moves the further known names of a node to the upper too. */
export function joinKnownNames(core: Core, node: Node): Result {
  for (const link of node.more ?? []) {
    if (link.container.layer.writable) continue
    const r = linkInUpper(core, node, link.parent, link.name)
    if (r < 0) return r
    ;(link as Link).container = link.parent.upperLoc
  }
  return 0
}

function linkInUpper(core: Core, node: Node, parent: Dir, name: Name): Result {
  const up = copyUp(core, parent)
  if (up < 0) return up
  const from = node.container.fd()
  if (from < 0) return from
  const to = parent.upperLoc.fd()
  if (to < 0) return to
  const r = keepTimes(to, () => linkAt(from, node.name, to, name))
  if (r < 0 && r !== -EEXIST) return r
  node.extraLinks--
  parent.listing?.copiedUp(name, parent.upperLoc)
  if (statAt(to, name, copied) === 0) enlistCopy(node, parent, name, parent.upperLoc, copied)
  return writeExtraLinks(core, node)
}

const copied = new Attr()

/** A copy that notes no origin is listed by its own number: it shows that one once its node has been forgotten. */
export function enlistCopy(node: Node, parent: Dir, name: Name, upper: Loc, copy: Attr): void {
  if (node.isRegular && node.indexed === undefined)
    parent.listing?.add(name, copy.ino, dtOfMode(node.type), upper)
}

/**
 * Finds a lower file with several links in the index: another name of it was copied up, in this mount or an earlier one.
 * The name found now is given to that copy.
 *
 * @returns the node of the copy; undefined where the file is not in the index; -errno
 */
export function adoptIndexed(core: Core, parent: Dir, name: Name, container: Loc): Node | undefined | Result {
  const entry = findIndexed(core, container, name, indexed)
  if (entry === undefined) return undefined
  let r = copyUp(core, parent)
  if (r >= 0) r = markImpure(core, parent.upperLoc)
  const to = r < 0 ? r : parent.upperLoc.fd()
  if (to < 0) return to
  r = keepTimes(to, () => linkIndexed(core, entry, to, name))
  if (r < 0) return r
  parent.listing?.copiedUp(name, parent.upperLoc)
  let node = core.table.byLink(indexed.dev, indexed.ino)
  if (node === undefined) {
    node = new Node(core.table.nextId(), indexed.mode, parent.upperLoc)
    node.ino = originNumber(core, parent.upperLoc, name) ?? core.numbers.shown(indexed.dev, indexed.ino)
    readIndexed(core, node, parent.upperLoc, name)
    core.table.put(node)
    core.table.registerLink(node, indexed.dev, indexed.ino)
  }
  addName(node, parent, name, parent.upperLoc)
  node.extraLinks--
  r = writeExtraLinks(core, node)
  return r < 0 ? r : node
}

const indexed = new Attr()
