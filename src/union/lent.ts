/** Files of lowers that the kernel reads by itself beneath an upper (`passthrough=all`), and what becomes of them when they are written. */

import { ESTALE } from '../abi/linux.js'
import type { Attr, Result } from '../vfs.js'
import type { Core } from './core.js'
import { detach } from './lookup.js'
import type { Node } from './node.js'

/** Smaller files are handed over whole when they are opened. */
const MIN_LENT = 128 * 1024

/** Whether the kernel may be handed the lower's file. @param attr as on disk */
export const mayLend = (core: Core, node: Node, attr: Attr): boolean =>
  core.policy.lowers &&
  !node.inUpper &&
  !node.adrift &&
  attr.size > MIN_LENT &&
  attr.nlink === 1 &&
  !core.parted.has(node.ino)

/**
 * Call before a file is written, truncated or linked. The kernel cannot put another file behind an open one: whoever has a lent
 * file open keeps it as it is, and its name leads to another node from now on, as if rename(2) had put a new file there.
 *
 * @returns -ESTALE, at which the kernel looks the name up once more and comes again (path_lookup: LOOKUP_REVAL); 0 where
 *   nobody has it lent
 */
export function part(core: Core, node: Node): Result {
  if (node.parted) return -ESTALE
  if (!node.lent) return 0
  node.parted = true
  // Lent anew before the writer comes again, it would have to be parted for a second time, which the kernel takes for an error.
  core.parted.set(node.ino, true)
  detach(core, node)
  return -ESTALE
}
