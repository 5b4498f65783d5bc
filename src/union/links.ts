/** Hard links of a lower layer that has been changed: its other names follow into the upper. */

import { EEXIST } from '../abi/linux.js'
import { linkAt } from '../sys/name.js'
import type { Name, Result } from '../vfs.js'
import { copyUp, keepTimes } from './copyup.js'
import type { Core } from './core.js'
import { addName, type Dir, type Link, type Node } from './node.js'

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
  return 0
}
