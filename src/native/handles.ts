/** Open files by a small number: what the binding carries of a handle is 31 bits, and 0 means none. */
import type { Fh, NodeId } from '../vfs.js'

/** One open file: the node it was opened on and the engine's handle. */
export interface Handle {
  readonly node: NodeId
  readonly fh: Fh
}

export class Handles {
  readonly #open: (Handle | undefined)[] = [undefined]
  readonly #free: number[] = []
  readonly #byNode = new Map<NodeId, number>()

  add(node: NodeId, fh: Fh): number {
    const fd = this.#free.pop() ?? this.#open.length
    this.#open[fd] = { node, fh }
    this.#byNode.set(node, (this.#byNode.get(node) ?? 0) + 1)
    return fd
  }

  get(fd: number): Handle | undefined {
    return this.#open[fd]
  }

  remove(fd: number): Handle | undefined {
    const handle = this.#open[fd]
    if (handle === undefined) return undefined
    this.#open[fd] = undefined
    this.#free.push(fd)
    const others = (this.#byNode.get(handle.node) ?? 1) - 1
    if (others === 0) this.#byNode.delete(handle.node)
    else this.#byNode.set(handle.node, others)
    return handle
  }

  /** Whether some handle is open on the node. */
  holds(node: NodeId): boolean {
    return this.#byNode.has(node)
  }

  /** Takes out every open file. */
  *drain(): Generator<Handle> {
    for (let fd = 1; fd < this.#open.length; fd++) {
      const handle = this.remove(fd)
      if (handle !== undefined) yield handle
    }
  }
}
