/** Further names of a lower file that has been copied up: without an index they follow into the upper, with one they lead there. */

import { Attr, type Name, type Result } from '../vfs.js'
import { linkInUpper } from './copyup.js'
import type { Core } from './core.js'
import { extraLinks, findIndexed } from './index.js'
import type { Loc } from './loc.js'
import { addName, type Dir, Node } from './node.js'

/** Gives a node of the upper one more name there: one that a lower layer shows for the file it was copied from. */
export function joinUpper(core: Core, node: Node, parent: Dir, name: Name): Result {
  const r = linkInUpper(core, node, parent, name)
  if (r < 0) return r
  addName(node, parent, name, parent.upperLoc)
  return 0
}

/**
 * Finds a lower file with several links in the index: another name of it was copied up, in this mount or an earlier one.
 *
 * @param attr of the lower file, on disk
 * @returns the node of the copy; undefined where the file is not in the index; -errno
 */
export function adoptIndexed(
  core: Core,
  parent: Dir,
  name: Name,
  container: Loc,
  attr: Attr,
): Node | undefined | Result {
  const index = core.workdir?.index
  const entry = findIndexed(core, container, name, indexed)
  if (index === undefined || entry === undefined) return undefined
  if (typeof entry === 'number') return entry
  let node = core.table.byLink(indexed.dev, indexed.ino)
  if (node === undefined) {
    node = new Node(core.table.nextId(), attr.mode, container)
    node.ino = core.numbers.shown(attr.dev, attr.ino)
    node.indexed = { loc: index, name: entry }
    node.extraLinks = extraLinks(core, index, entry, indexed.nlink, attr.nlink)
    core.table.put(node)
    core.table.registerLink(node, indexed.dev, indexed.ino)
  }
  core.table.registerLink(node, attr.dev, attr.ino)
  addName(node, parent, name, container)
  return node
}

const indexed = new Attr()
