/** Hard links of a lower layer that has been changed: its other names follow into the upper. */

import { Attr, type Name, type Result } from '../vfs.js'
import { copyUp, linkInUpper } from './copyup.js'
import type { Core } from './core.js'
import { findIndexed, linkIndexed, readIndexed, writeExtraLinks } from './index.js'
import type { Loc } from './loc.js'
import { addName, type Dir, Node } from './node.js'
import { originNumber } from './origin.js'
import { keepTimes, markImpure } from './upperdir.js'

/** Gives a node of the upper one more name there: one that a lower layer shows for the file it was copied from. */
export function joinUpper(core: Core, node: Node, parent: Dir, name: Name): Result {
  const r = linkInUpper(core, node, parent, name)
  if (r < 0) return r
  addName(node, parent, name, parent.upperLoc)
  return 0
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
