import { EPERM } from '../abi/linux.js'
import type { NodeId, Result } from '../vfs.js'

/** The two ioctls of passthrough, on the session's device: sys/device. */
export interface BackingDevice {
  backingOpen(fd: number): Result
  backingClose(backing: number): Result
}

/** How an open node is held. */
interface Mode {
  opens: number
  /** The backing id of passthrough, or 0: through the page cache. */
  backing: number
}

/**
 * Which open nodes the kernel reads and writes itself (FUSE passthrough).
 *
 * The kernel holds an inode in one mode while it is open anywhere: an open of the other mode, or of another backing
 * file, fails with EIO. So the first open of a node chooses, and the others follow until the last RELEASE. The kernel
 * leaves a mode before it sends RELEASE, so what is counted here never falls behind what the kernel believes.
 */
export class Backings {
  /** Nodes that somebody may write through a mapping, which the kernel does not tell of: their times are never current. */
  readonly mappable = new Set<NodeId>()
  private readonly device: BackingDevice
  private readonly forget: (node: NodeId) => void
  private readonly nodes = new Map<NodeId, Mode>()
  /** Off where the kernel did not agree to passthrough, or has refused it to this process. */
  enabled = false
  /** Opens answered with passthrough, and files that had to do without it. */
  granted = 0
  refused = 0

  /** @param forget has the kernel ask anew for a node's attributes */
  constructor(device: BackingDevice, forget: (node: NodeId) => void) {
    this.device = device
    this.forget = forget
  }

  /**
   * Counts an open. @param fd the descriptor offered for passthrough, or -1. @param both whether it reads and writes
   * @returns the backing id to answer with, or 0: cached
   */
  open(node: NodeId, fd: number, both: boolean): number {
    let mode = this.nodes.get(node)
    if (mode === undefined) {
      if (!this.enabled) return 0
      mode = { opens: 0, backing: fd < 0 ? 0 : this.register(fd) }
      this.nodes.set(node, mode)
    }
    mode.opens++
    if (both && mode.backing > 0 && !this.mappable.has(node)) {
      this.mappable.add(node)
      this.forget(node)
    }
    return mode.backing
  }

  private register(fd: number): number {
    const id = this.device.backingOpen(fd)
    if (id > 0) {
      this.granted++
      return id
    }
    this.refused++
    // Every further try would be refused alike. Other errnos concern this file's filesystem alone.
    if (id === -EPERM) this.enabled = false
    return 0
  }

  /** Counts a RELEASE. */
  release(node: NodeId): void {
    const mode = this.nodes.get(node)
    if (mode === undefined || --mode.opens > 0) return
    this.nodes.delete(node)
    this.mappable.delete(node)
    if (mode.backing > 0) this.device.backingClose(mode.backing)
  }
}
