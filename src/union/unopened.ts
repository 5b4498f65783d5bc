/** Files that the kernel reads without having opened them: where nothing can be written it need not ask (FUSE_NO_OPEN_SUPPORT). */

import { LRUCache } from 'lru-cache'
import { O_RDONLY } from '../abi/linux.js'
import { close } from '../sys/file.js'
import { openFileLimit } from '../sys/limit.js'
import type { Result } from '../vfs.js'
import type { Core } from './core.js'
import { openNode } from './descriptors.js'
import type { Node } from './node.js'

const MAX_FDS = Math.min(1024, Math.floor(openFileLimit() / 8))

/** A bounded cache of their descriptors. */
export class Unopened {
  private readonly fds = new LRUCache<Node, number>({ max: MAX_FDS, dispose: (fd) => close(fd) })

  /** Good until many other files have been read. */
  fd(core: Core, node: Node): Result {
    const known = this.fds.get(node)
    if (known !== undefined) return known
    const fd = openNode(core, node, O_RDONLY)
    if (fd >= 0) this.fds.set(node, fd)
    return fd
  }

  drop(node: Node): void {
    this.fds.delete(node)
  }

  closeAll(): void {
    this.fds.clear()
  }
}
