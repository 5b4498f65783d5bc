import { LRUCache } from 'lru-cache'
import type { NodeId } from '../vfs.js'

/** Which entries of a listing come with attributes. */
export type Wanted = 'none' | 'directories' | 'all but one' | 'all'

/** A thread that lists directories. */
class Walker {
  /** The attributes of files that it lists have been asked for. */
  asks = false
  /** Its listings in which a file without attributes was left alone. */
  unasked = 0
}

/** Listings in which a thread must leave such a file alone before it is taken for one that looks at none. */
const LESSONS = 4
const MAX_WALKERS = 64
const MAX_LISTED = 4096

/**
 * Who lists directories without a look at the files in them, as `find` and `ls -R` do: their attributes, and inodes of
 * the kernel's, would be work for nothing.
 *
 * The kernel does not tell whether what READDIRPLUS gives it is of use. So one file of a listing is given without
 * attributes: who wants them looks it up. Those of directories are always given, as directories are entered next.
 */
export class Walkers {
  private readonly threads = new LRUCache<number, Walker>({ max: MAX_WALKERS })
  /** Directories with files that were given without attributes, and to whom. */
  private readonly listed = new LRUCache<NodeId, Walker>({ max: MAX_LISTED })

  /**
   * What a part of a listing comes with.
   *
   * @param tid 0: a process of another pid namespace, which the kernel cannot name
   * @param begins it is the first part. By the second, who looks at each entry at once has asked for the one left out
   */
  wants(tid: number, dir: NodeId, begins: boolean): Wanted {
    const walker = this.threads.get(tid)
    if (walker?.asks) return 'all'
    if (!begins) return this.listed.get(dir)?.asks ? 'all' : 'directories'
    return (walker?.unasked ?? 0) < LESSONS ? 'all but one' : 'directories'
  }

  /** Files of `dir` have been given without attributes. */
  withheld(tid: number, dir: NodeId, begins: boolean): void {
    const walker = this.threads.get(tid) ?? (begins ? undefined : this.listed.get(dir)) ?? new Walker()
    if (begins) walker.unasked++
    if (tid !== 0) this.threads.set(tid, walker)
    this.listed.set(dir, walker)
  }

  /** A file in `dir` has been looked up: by the walker itself, or by another thread or program that it lists for. */
  lookedUp(tid: number, dir: NodeId): void {
    if (this.listed.size === 0) return
    const own = this.threads.get(tid)
    if (own !== undefined) own.asks = true
    const lister = this.listed.get(dir)
    if (lister !== undefined) lister.asks = true
  }
}
