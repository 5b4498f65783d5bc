/** Which files of lowers the kernel reads by itself beneath an upper (`passthrough=all`). */

import type { Attr } from '../vfs.js'
import type { Core } from './core.js'
import type { Node } from './node.js'

/**
 * Lends the kernel a file of a lower that is being opened, if it may be.
 *
 * @param attr of its data, on disk
 * @returns the descriptor to hand over, or -1
 */
export function lend(core: Core, node: Node, attr: Attr): number {
  if (node.lent !== undefined) return node.lent.fd
  // A copy that is under way is not the shadow's.
  if (node.inUpper || node.adrift || node.copying !== undefined) return -1
  const { container } = node
  if (attr.dev !== container.layer.dev) return -1
  const dir = container.path()
  node.lent = core.shadows?.get(container.layer)?.lend(dir === '' ? node.name : `${dir}/${node.name}`, attr)
  return node.lent?.fd ?? -1
}

/** Call when nobody may have a file open any more: its lending ends then, unless it is being copied. */
export function endLending(node: Node): void {
  if (node.lent === undefined || node.lent.busy || node.handles !== undefined) return
  node.lent.end()
  node.lent = undefined
}
