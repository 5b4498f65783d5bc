import {
  ATTR,
  ATTR_OUT,
  ENTRY_OUT,
  FUSE_NOTIFY_STORE,
  OPEN_OUT,
  OUT,
  OUT_HEADER,
  STATFS_OUT,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_OUT,
  STORE_OUT,
} from '../abi/fuse.js'
import type { Attr, Entry, NodeId, StatFs } from '../vfs.js'
import type { Request } from './request.js'

const PAGE = 4096
/** Timeouts at least this long (three years) never end as far as the kernel is concerned; it counts in jiffies. */
const ENDLESS = 1e8

/**
 * The answer to one request, put together in place: header, then body. READ data, names and listings are written by
 * the engine straight into `body`.
 */
export class Reply {
  readonly buffer: Buffer
  private readonly view: DataView
  private readonly pages: (Buffer | undefined)[] = []
  private last: Buffer
  /** The largest body. */
  readonly capacity: number
  /** For how long the kernel may keep names and attributes: seconds and nanoseconds. */
  private readonly validSeconds: number
  private readonly validNs: number
  /** Nodes whose attributes the kernel may not keep. */
  passing: ReadonlySet<NodeId> = new Set()

  constructor(bytes: number, timeout: number) {
    this.buffer = Buffer.allocUnsafeSlow(OUT_HEADER + bytes)
    this.view = new DataView(this.buffer.buffer, this.buffer.byteOffset, this.buffer.length)
    this.capacity = bytes
    this.last = this.buffer.subarray(OUT_HEADER, OUT_HEADER)
    const seconds = Math.min(timeout, ENDLESS)
    this.validSeconds = Math.floor(seconds)
    this.validNs = Math.round((seconds - this.validSeconds) * 1e9)
  }

  /** Whether the kernel keeps anything. */
  get caches(): boolean {
    return this.validSeconds > 0 || this.validNs > 0
  }

  /** Whether what the kernel keeps stays good until it is told otherwise. */
  get endless(): boolean {
    return this.validSeconds >= ENDLESS
  }

  /** The body's first 32 bits: a node, or a count. */
  get firstField(): number {
    return this.view.getUint32(OUT_HEADER, true)
  }

  /** Writes the header. @param error 0 or a negated errno. @returns the bytes to send */
  head(req: Request, error: number, payload: number): number {
    return this.header(req.uniqueLow, req.uniqueHigh, error, payload)
  }

  private header(uniqueLow: number, uniqueHigh: number, error: number, payload: number): number {
    const v = this.view
    const total = OUT_HEADER + payload
    v.setUint32(OUT.len, total, true)
    v.setInt32(OUT.error, error, true)
    v.setUint32(OUT.unique, uniqueLow, true)
    v.setUint32(OUT.unique + 4, uniqueHigh, true)
    return total
  }

  /** Makes the first `count` bytes behind struct fuse_notify_store_out a message of their own. @returns the bytes to send */
  store(node: NodeId, pos: number, count: number): number {
    this.u64(STORE_OUT.node, node)
    this.u64(STORE_OUT.offset, pos)
    this.u32(STORE_OUT.count, count)
    this.u32(STORE_OUT.count + 4, 0)
    return this.header(0, 0, FUSE_NOTIFY_STORE, STORE_OUT.size + count)
  }

  /** The first `size` bytes of the body. @param size at most `capacity` */
  body(size: number): Buffer {
    if (this.last.length === size) return this.last
    const aligned = size % PAGE === 0
    let view = aligned ? this.pages[size / PAGE] : undefined
    if (view === undefined) {
      view = this.buffer.subarray(OUT_HEADER, OUT_HEADER + size)
      if (aligned) this.pages[size / PAGE] = view
    }
    this.last = view
    return view
  }

  u32(at: number, value: number): void {
    this.view.setUint32(OUT_HEADER + at, value, true)
  }

  u16(at: number, value: number): void {
    this.view.setUint16(OUT_HEADER + at, value, true)
  }

  /** A 64-bit field, signed or not. */
  u64(at: number, value: number): void {
    const high = Math.floor(value / 0x100000000)
    this.view.setUint32(OUT_HEADER + at, value - high * 0x100000000, true)
    this.view.setInt32(OUT_HEADER + at + 4, high, true)
  }

  zero(at: number, size: number): void {
    this.buffer.fill(0, OUT_HEADER + at, OUT_HEADER + at + size)
  }

  /** struct fuse_attr */
  private attr(at: number, a: Attr): void {
    this.u64(at + ATTR.ino, a.ino)
    this.u64(at + ATTR.size, a.size)
    this.u64(at + ATTR.blocks, a.blocks)
    this.u64(at + ATTR.atime, a.atime)
    this.u64(at + ATTR.mtime, a.mtime)
    this.u64(at + ATTR.ctime, a.ctime)
    this.u32(at + ATTR.atimeNs, a.atimeNs)
    this.u32(at + ATTR.mtimeNs, a.mtimeNs)
    this.u32(at + ATTR.ctimeNs, a.ctimeNs)
    this.u32(at + ATTR.mode, a.mode)
    this.u32(at + ATTR.nlink, a.nlink)
    this.u32(at + ATTR.uid, a.uid)
    this.u32(at + ATTR.gid, a.gid)
    this.u32(at + ATTR.rdev, a.rdev)
    this.u32(at + ATTR.blksize, a.blksize)
    this.u32(at + ATTR.flags, 0)
  }

  /** struct fuse_entry_out */
  entry(e: Entry, at = 0): number {
    this.u64(at + ENTRY_OUT.node, e.node)
    this.u64(at + ENTRY_OUT.generation, e.generation)
    this.validity(at, this.validSeconds, this.validNs)
    if (this.passes(e.node)) {
      this.u64(at + ENTRY_OUT.attrValid, 0)
      this.u32(at + ENTRY_OUT.attrValidNs, 0)
    }
    this.attr(at + ENTRY_OUT.attr, e.attr)
    return ENTRY_OUT.size
  }

  /** A name that is not there, which the kernel may remember: an entry of node 0. */
  noEntry(): number {
    this.zero(0, ENTRY_OUT.size)
    this.validity(0, this.validSeconds, this.validNs)
    return ENTRY_OUT.size
  }

  private passes(node: NodeId): boolean {
    return this.passing.size > 0 && this.passing.has(node)
  }

  private validity(at: number, seconds: number, ns: number): void {
    this.u64(at + ENTRY_OUT.entryValid, seconds)
    this.u64(at + ENTRY_OUT.attrValid, seconds)
    this.u32(at + ENTRY_OUT.entryValidNs, ns)
    this.u32(at + ENTRY_OUT.attrValidNs, ns)
  }

  /** struct fuse_attr_out */
  attributes(a: Attr, node: NodeId): number {
    const passes = this.passes(node)
    this.u64(ATTR_OUT.valid, passes ? 0 : this.validSeconds)
    this.u32(ATTR_OUT.validNs, passes ? 0 : this.validNs)
    this.u32(ATTR_OUT.validNs + 4, 0)
    this.attr(ATTR_OUT.attr, a)
    return ATTR_OUT.size
  }

  /** struct fuse_statx_out */
  statx(a: Attr, node: NodeId): number {
    const passes = this.passes(node)
    this.zero(0, STATX_OUT.bytes)
    this.u64(STATX_OUT.valid, passes ? 0 : this.validSeconds)
    this.u32(STATX_OUT.validNs, passes ? 0 : this.validNs)
    const born = a.btime !== 0 || a.btimeNs !== 0
    this.u32(STATX_OUT.mask, born ? STATX_BASIC_STATS | STATX_BTIME : STATX_BASIC_STATS)
    this.u32(STATX_OUT.blksize, a.blksize)
    this.u32(STATX_OUT.nlink, a.nlink)
    this.u32(STATX_OUT.uid, a.uid)
    this.u32(STATX_OUT.gid, a.gid)
    this.u16(STATX_OUT.mode, a.mode)
    this.u64(STATX_OUT.ino, a.ino)
    this.u64(STATX_OUT.size, a.size)
    this.u64(STATX_OUT.blocks, a.blocks)
    this.time(STATX_OUT.atime, a.atime, a.atimeNs)
    this.time(STATX_OUT.btime, a.btime, a.btimeNs)
    this.time(STATX_OUT.ctime, a.ctime, a.ctimeNs)
    this.time(STATX_OUT.mtime, a.mtime, a.mtimeNs)
    // new_encode_dev: minor bits 0-7, major in bits 8-19, the minor's other bits above.
    this.u32(STATX_OUT.rdevMajor, (a.rdev & 0xfff00) >>> 8)
    this.u32(STATX_OUT.rdevMinor, (a.rdev & 0xff) | ((a.rdev >>> 12) & 0xfff00))
    return STATX_OUT.bytes
  }

  private time(at: number, seconds: number, ns: number): void {
    this.u64(at, seconds)
    this.u32(at + 8, ns)
  }

  /** struct fuse_open_out. @param backing the id for passthrough, else 0 */
  opened(fh: number, flags: number, backing: number, at = 0): number {
    this.u64(at + OPEN_OUT.fh, fh)
    this.u32(at + OPEN_OUT.flags, flags)
    this.u32(at + OPEN_OUT.backing, backing)
    return OPEN_OUT.size
  }

  /** struct fuse_statfs_out */
  statfs(s: StatFs): number {
    this.zero(0, STATFS_OUT.size)
    this.u64(STATFS_OUT.blocks, s.blocks)
    this.u64(STATFS_OUT.bfree, s.bfree)
    this.u64(STATFS_OUT.bavail, s.bavail)
    this.u64(STATFS_OUT.files, s.files)
    this.u64(STATFS_OUT.ffree, s.ffree)
    this.u32(STATFS_OUT.bsize, s.bsize)
    this.u32(STATFS_OUT.namelen, s.namelen)
    this.u32(STATFS_OUT.frsize, s.frsize)
    return STATFS_OUT.size
  }
}
