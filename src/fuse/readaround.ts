import { READ_IN } from '../abi/fuse.js'
import { O_DIRECT } from '../abi/linux.js'
import { close, duplicate } from '../sys/file.js'
import { type Fh, type Filesystem, type JobId, type NodeId, PARKED } from '../vfs.js'
import type { HelperThreads } from './helpers.js'
import type { Request } from './request.js'
import { MAX_STORE } from './store.js'

/** READs of more bytes are the kernel's readahead: it fetches ahead by itself. */
const MAX_READ = 32 * 1024
/**
 * READs of one region after which all of it is handed over. A READ costs as much as handing over ten pages, so what is lost
 * where nobody comes back is about as much again as he has spent.
 */
const ENOUGH = 12
const REGION = MAX_STORE
/** Regions of which READs are counted; of two that fall on one place the later counts. */
const PLACES = 4096
/** Regions under way at once. */
const MAX_JOBS = 4

/**
 * Gives the kernel whole regions of files that are read here and there, as databases and mapped files are. It asks for
 * each page by itself, which costs many times what the page does.
 *
 * The pages come from a helper thread: the kernel locks them, and would wait for ever for one that is locked until the session
 * answers a READ. Meanwhile nothing may change the file, so whoever would has to ask `holds` first.
 */
export class ReadAround {
  /** Regions given. */
  given = 0
  private readonly nodes = new Float64Array(PLACES)
  private readonly regions = new Float64Array(PLACES)
  private readonly counts = new Uint8Array(PLACES)
  private running: { node: NodeId; fd: number; job: JobId }[] = []
  /** Lookups that the kernel has dropped of nodes whose pages are under way. */
  private dropped: { node: NodeId; count: number }[] = []
  /** The session closes its own while helpers may still write. */
  private own = -1

  /** @param device /dev/fuse, for helpers to write to */
  constructor(
    private readonly fs: Filesystem,
    private readonly helpers: HelperThreads | undefined,
    private readonly device: number,
  ) {}

  /** A READ is about to be answered. */
  read(req: Request, fh: Fh, pos: number, count: number): void {
    if (count > MAX_READ || this.helpers === undefined) return
    const region = Math.floor(pos / REGION)
    const place = (req.node * 31 + region) % PLACES
    if (this.nodes[place] !== req.node || this.regions[place] !== region) {
      this.nodes[place] = req.node
      this.regions[place] = region
      this.counts[place] = 0
    }
    const reads = (this.counts[place] ?? 0) + 1
    this.counts[place] =
      reads < ENOUGH || !this.give(this.helpers, req, fh, region * REGION) ? Math.min(reads, ENOUGH) : 0
  }

  private give(helpers: HelperThreads, req: Request, fh: Fh, pos: number): boolean {
    if ((req.u32(READ_IN.flags) & O_DIRECT) !== 0) return false
    const source = this.fs.steadySource?.(req.node, fh) ?? -1
    if (source < 0) return false
    this.settle()
    if (this.running.length >= MAX_JOBS) return false
    if (this.own < 0) this.own = duplicate(this.device)
    // The file may be closed meanwhile, or another put behind its descriptor.
    const fd = duplicate(source)
    if (fd < 0) return false
    const { node } = req
    const job = helpers.start({ kind: 'store', from: fd, device: this.own, node, pos, count: REGION })
    if (job < 0) {
      close(fd)
      return false
    }
    this.running.push({ node, fd, job })
    this.given++
    return true
  }

  /** Whether pages of a file are under way: what would change it is to be PARKED until they are not. */
  holds(node: NodeId): boolean {
    if (this.running.length === 0) return false
    this.settle()
    return this.isUnderWay(node)
  }

  private isUnderWay(node: NodeId): boolean {
    return this.running.some((store) => store.node === node)
  }

  /** Passes FORGET on; while pages are under way later, since a number that is free is the next file's, who would get them. */
  forget(node: NodeId, count: number): void {
    if (this.holds(node)) this.dropped.push({ node, count })
    else this.fs.forget(node, count)
  }

  private settle(): void {
    this.running = this.running.filter(({ fd, job }) => {
      if (this.helpers?.take(job) === PARKED) return true
      close(fd)
      return false
    })
    const { dropped } = this
    this.dropped = []
    for (const { node, count } of dropped) {
      if (this.isUnderWay(node)) this.dropped.push({ node, count })
      else this.fs.forget(node, count)
    }
  }

  /** Once the helpers have ended. */
  close(): void {
    for (const { fd } of this.running) close(fd)
    this.running = []
    if (this.own >= 0) close(this.own)
    this.own = -1
  }
}
