/** What every operation of a mount shares: the stack, the live nodes, the open files, the workdir and the caches. */

import { LRUCache } from 'lru-cache'
import { ENOTDIR, ESTALE } from '../abi/linux.js'
import { overlayPrefix } from '../abi/overlay.js'
import type { Attr, Helpers, NodeId, Notifier, Result } from '../vfs.js'
import { HandleTable } from './handles.js'
import type { InodeNumbers } from './ino.js'
import type { Layer } from './layer.js'
import type { Listing } from './listing.js'
import { Dir, type Node, NodeTable } from './node.js'
import type { Stack } from './resolve.js'
import type { Shadow } from './shadow.js'
import { Unopened } from './unopened.js'
import type { Workdir } from './workdir.js'

/** Memory that cached listings may take, in bytes. */
const LISTING_BYTES = 96 * 1024 * 1024

export interface Policy {
  /** The kernel may read and write files of the upper without us. */
  passthrough: boolean
  /** Directories are renamed by redirect, else EXDEV. */
  redirect: boolean
  /** chmod, chown and the like of a lower file copy up no data. */
  metacopy: boolean
  /** What is written has to reach a disk. */
  durable: boolean
  /** Files of the upper are read with O_NOATIME. */
  noatime: boolean
  /** No mode keeps this process from opening a file. */
  unbarred: boolean
}

export class Core {
  readonly table = new NodeTable()
  readonly handles = new HandleTable()
  /** There where nothing can be written. */
  readonly unopened: Unopened | undefined
  /** The ids that files of this process are born with. */
  readonly uid = process.geteuid?.() ?? 0
  readonly gid = process.getegid?.() ?? 0
  /** Tells the kernel what to forget, where the transport can. */
  notifier: Notifier | undefined
  /** Threads for work that would hold others up, where the transport lends any. */
  helpers: Helpers | undefined
  readonly counters = { copyUps: 0, copiedBytes: 0, listings: 0 }
  private readonly listings = new LRUCache<Dir, Listing>({
    maxSize: LISTING_BYTES,
    sizeCalculation: (listing) => listing.bytes,
    dispose: (_, dir) => {
      dir.listing = undefined
    },
  })
  /** Directories that the kernel has let go of, the longest ago first. */
  readonly idle = new Set<Dir>()
  /** The latest listing too large for the cache. */
  private giant: Dir | undefined

  constructor(
    readonly stack: Stack,
    readonly numbers: InodeNumbers,
    /** Undefined on a read-only mount. */
    readonly workdir: Workdir | undefined,
    readonly policy: Policy,
    /** By which the kernel may read large files of lowers without us. */
    readonly shadows: ReadonlyMap<Layer, Shadow> | undefined,
  ) {
    this.unopened = workdir === undefined ? new Unopened() : undefined
  }

  node(id: NodeId): Node | undefined {
    return this.table.get(id)
  }

  /** The directory of this id, or -ENOTDIR, -ESTALE. */
  dir(id: NodeId): Dir | Result {
    const node = this.table.get(id)
    if (node instanceof Dir) return node
    return node === undefined ? -ESTALE : -ENOTDIR
  }

  /** Name of an overlay xattr in the namespace that the upper is written in. */
  mark(name: string): string {
    return overlayPrefix(this.workdir?.namespace ?? 'trusted') + name
  }

  /** The layer whose filesystem an origin's UUID names. */
  layerByUuid(uuid: Buffer): Layer | undefined {
    return this.stack.layers.find((layer) => !layer.writable && layer.uuid.equals(uuid))
  }

  /** Turns a file's attributes on disk into those shown. */
  show(node: Node, attr: Attr): void {
    const { layer } = node.home
    attr.ino = node.ino
    attr.uid = layer.uids.toShown(attr.uid)
    attr.gid = layer.gids.toShown(attr.gid)
    if (node instanceof Dir) attr.nlink = node.removed ? 0 : node.merged ? 1 : attr.nlink
    else attr.nlink = Math.max(0, attr.nlink + node.extraLinks)
  }

  keepListing(dir: Dir, listing: Listing): void {
    listing.renewed = dir.listed
    dir.listed = true
    dir.listing = listing
    this.counters.listings++
    if (listing.bytes <= LISTING_BYTES) {
      this.listings.set(dir, listing)
      return
    }
    if (this.giant !== undefined && this.giant !== dir) this.giant.listing = undefined
    this.giant = dir
  }

  /** Marks a listing as used just now. */
  touchListing(dir: Dir): void {
    this.listings.get(dir)
  }

  dropListing(dir: Dir): void {
    if (dir.listing === undefined) return
    this.listings.delete(dir)
    dir.listing = undefined
  }
}
