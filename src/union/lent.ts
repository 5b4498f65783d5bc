/** Files of lowers that the kernel reads by itself beneath an upper (`passthrough=all`), and what becomes of them when they are written. */

import { ESTALE } from '../abi/linux.js'
import { duplicate } from '../sys/file.js'
import { type Attr, PARKED, type Result } from '../vfs.js'
import type { Core } from './core.js'
import { detach } from './lookup.js'
import { letGo, type Node } from './node.js'

/**
 * Lends the kernel the file of a lower that is open for reading, if it may be.
 *
 * @param attr as on disk. @returns whether the kernel may be handed the descriptor
 */
export function lend(core: Core, node: Node, fd: number, attr: Attr): boolean {
  if (!core.policy.lowers || node.inUpper || node.adrift || core.parted.has(node.ino)) return false
  if (attr.nlink !== 1) return false
  if (node.lent !== undefined) return true
  const own = duplicate(fd)
  if (own >= 0) node.lent = { fd: own, container: node.container }
  return own >= 0
}

/**
 * Call before a file is written, truncated or linked. The kernel cannot put another file behind an open one: whoever has a lent
 * file open keeps it as it is, and its name leads to another node from now on, as if rename(2) had put a new file there.
 *
 * @returns -ESTALE, at which the kernel looks the name up once more and comes again (path_lookup: LOOKUP_REVAL); 0 where
 *   nobody has it lent; PARKED while a helper thread copies it up for somebody else
 */
export function part(core: Core, node: Node): Result {
  if (node.parted) return -ESTALE
  const { lent } = node
  if (lent === undefined) return 0
  if (node.copying !== undefined) return PARKED
  // Lent anew before the writer comes again, it would have to be parted for a second time, which the kernel takes for an error.
  core.parted.set(node.ino, true)
  detach(core, node)
  letGo(node)
  node.parted = true
  node.lent = undefined
  node.anchor = lent.fd
  node.container = lent.container
  return -ESTALE
}
