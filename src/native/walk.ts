/**
 * Paths to nodes: libfuse 2 speaks paths, the engine speaks nodes.
 *
 * Each node the engine has handed out is counted: how often it was looked up, and how many owners here (cached paths,
 * open files, hidden files) still want it. Without an owner all its lookups are given back by `forget`, so the engine's
 * memory is bounded by the cache's. Forgetting waits for `settle`, at the end of a request: until then every node that
 * the request has resolved stays good, however small the cache.
 */
import { LRUCache } from 'lru-cache'
import { EILSEQ, S_IFDIR, S_IFMT } from '../abi/linux.js'
import { type Caller, Entry, type Filesystem, type NodeId, type Result, ROOT } from '../vfs.js'
import { bytesOf } from './text.js'

/** Bytes that the paths known at a time, with their nodes, may take. */
export const WALK_BUDGET = 32 * 2 ** 20

/** What a cached path costs beside its own characters: the cache's slots, the count here, the engine's node. */
const ENTRY_COST = 700

const costOf = (path: string): number => ENTRY_COST + path.length

interface Count {
  owners: number
  lookups: number
  directory: boolean
}

/** The two halves of a path: the parent's path and the last name. */
export function splitPath(path: string): { parent: string; name: string } {
  const cut = path.lastIndexOf('/')
  return { parent: cut === 0 ? '/' : path.slice(0, cut), name: path.slice(cut + 1) }
}

/** What walking needs of a filesystem. */
export type Walkable = Pick<Filesystem, 'lookup' | 'forget'>

export class Walk {
  readonly #fs: Walkable
  readonly #caller: Caller
  readonly #paths: LRUCache<string, NodeId>
  readonly #hidden = new Map<string, NodeId>()
  readonly #counts = new Map<NodeId, Count>()
  readonly #idle: NodeId[] = []
  readonly #entry = new Entry()

  /**
   * @param ttl milliseconds for which a path once found is trusted; 0: for as long as it is not changed through here
   * @param budget bytes
   */
  constructor(fs: Walkable, caller: Caller, ttl: number, budget: number = WALK_BUDGET) {
    this.#fs = fs
    this.#caller = caller
    this.#paths = new LRUCache({
      maxSize: budget,
      sizeCalculation: (_node, path) => costOf(path),
      ttl,
      dispose: (node) => this.release(node),
    })
  }

  /** Nodes that the engine keeps for us. */
  get nodes(): number {
    return this.#counts.size
  }

  /** @returns the node of a path, or -ENOENT and whatever else a lookup answers; -EILSEQ for a name that is not UTF-8 */
  resolve(path: string): NodeId | Result {
    let end = path.length
    let node = this.#known(path)
    while (node === undefined) {
      end = path.lastIndexOf('/', end - 1)
      node = this.#known(path.slice(0, end))
    }
    while (end < path.length) {
      const slash = path.indexOf('/', end + 1)
      const next = slash === -1 ? path.length : slash
      const name = bytesOf(path.slice(end + 1, next))
      if (name === undefined) return -EILSEQ
      const result = this.#fs.lookup(this.#caller, node, name, this.#entry)
      if (result < 0) return result
      node = this.#entry.node
      this.adopt(path.slice(0, next), this.#entry)
      end = next
    }
    return node
  }

  /** Takes over the lookup that the engine counted for `entry`, whose path this now is. */
  adopt(path: string, entry: Entry): void {
    const node = entry.node
    let count = this.#counts.get(node)
    if (count === undefined) {
      count = { owners: 0, lookups: 0, directory: (entry.attr.mode & S_IFMT) === S_IFDIR }
      this.#counts.set(node, count)
    }
    count.lookups++
    this.hold(node)
    this.#paths.delete(path)
    // The cache would drop a longer path without a word.
    if (costOf(path) > this.#paths.maxSize) this.release(node)
    else this.#paths.set(path, node)
  }

  /** One owner more: the node is kept until it is released as often. */
  hold(node: NodeId): void {
    const count = this.#counts.get(node)
    if (count !== undefined) count.owners++
  }

  release(node: NodeId): void {
    const count = this.#counts.get(node)
    if (count === undefined) return
    count.owners--
    if (count.owners === 0) this.#idle.push(node)
  }

  /** Forgets what has lost its last owner. At the end of each request. */
  settle(): void {
    for (let node = this.#idle.pop(); node !== undefined; node = this.#idle.pop()) {
      const count = this.#counts.get(node)
      if (count === undefined || count.owners > 0) continue
      this.#counts.delete(node)
      this.#fs.forget(node, count.lookups)
    }
  }

  /** The name is gone: unlink, rmdir. */
  removed(path: string): void {
    this.#paths.delete(path)
  }

  /** A name has moved, with all that was known beneath it. */
  moved(from: string, to: string): void {
    const node = this.#paths.peek(from)
    const directory = node === undefined || (this.#counts.get(node)?.directory ?? true)
    this.#paths.delete(from)
    this.#paths.delete(to)
    if (!directory) return
    const prefix = `${from}/`
    for (const path of [...this.#paths.keys()]) if (path.startsWith(prefix)) this.#paths.delete(path)
    for (const [path, hidden] of [...this.#hidden]) {
      if (!path.startsWith(prefix)) continue
      this.#hidden.delete(path)
      this.#hidden.set(`${to}/${path.slice(prefix.length)}`, hidden)
    }
  }

  /** A path under which libfuse goes on to speak of an open file that has lost its name. */
  hide(path: string, node: NodeId): void {
    this.hold(node)
    this.#hidden.set(path, node)
  }

  /** @returns whether the path was hidden and is no more */
  unhide(path: string): boolean {
    const node = this.#hidden.get(path)
    if (node === undefined) return false
    this.#hidden.delete(path)
    this.release(node)
    return true
  }

  /** Whether an open file without a name lies in this directory, for libfuse. */
  hides(path: string): boolean {
    if (this.#hidden.size === 0) return false
    const prefix = `${path}/`
    for (const hidden of this.#hidden.keys()) if (hidden.startsWith(prefix)) return true
    return false
  }

  /** Gives every lookup back. */
  clear(): void {
    this.#paths.clear()
    for (const path of [...this.#hidden.keys()]) this.unhide(path)
    this.settle()
  }

  #known(path: string): NodeId | undefined {
    if (path === '' || path === '/') return ROOT
    return this.#paths.get(path) ?? this.#hidden.get(path)
  }
}
