/** Descriptors of files: fresh ones, and those of open files that did without one so far. */

import { ENOENT, O_NONBLOCK } from '../abi/linux.js'
import { open } from '../sys/file.js'
import type { Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Handle } from './handles.js'
import { openData } from './metacopy.js'
import type { Node } from './node.js'

/** A fresh descriptor of a node's data, whether it has a name or not. Access times of lowers stay where the daemon may say so. */
export function openNode(core: Core, node: Node, flags: number): Result {
  if (node.adrift) {
    const fd = node.lifeline
    return fd < 0 ? -ENOENT : open(-1, `/proc/self/fd/${fd}`, flags)
  }
  const dirfd = node.home.fd()
  if (dirfd < 0) return dirfd
  if (node.inUpper) return openData(core, node, dirfd, node.homeName, flags)
  // A lower may have put a FIFO in the place of the file meanwhile: that must not hold us up.
  return openData(core, node, dirfd, node.name, flags | O_NONBLOCK)
}

/** The descriptor of an open file, opened now where nobody has needed it yet. */
export function descriptorOf(core: Core, handle: Handle): Result {
  if (handle.fd < 0) {
    const fd = openNode(core, handle.node, handle.flags)
    if (fd < 0) return fd
    handle.fd = fd
  }
  return handle.fd
}

/** Opens what is open of a node without a descriptor: call before its name goes, by which it would be opened. */
export function openHandles(core: Core, node: Node): Result {
  for (const handle of node.handles ?? []) {
    const fd = descriptorOf(core, handle)
    if (fd < 0) return fd
  }
  return 0
}
