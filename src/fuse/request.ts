import { FUSE_READ, FUSE_WRITE, IN, IN_HEADER, READ_IN, WRITE_IN } from '../abi/fuse.js'
import type { Caller, Name, NodeId } from '../vfs.js'

/** Multiples of this have views made once. */
const PAGE = 4096

/**
 * One request of the kernel, as a view on the buffer that read(2) filled. It is loaded anew for each request, and
 * nothing taken from it outlives that, but for names, which are strings.
 */
export class Request {
  readonly buffer: Buffer
  private readonly view: DataView
  /** Views of the data of WRITE, by size in pages. */
  private readonly pages: (Buffer | undefined)[] = []

  opcode = 0
  node: NodeId = 0
  /** `unique` as two u32. */
  uniqueLow = 0
  uniqueHigh = 0
  readonly caller: Caller = { uid: 0, gid: 0, pid: 0, umask: 0 }
  /** Bytes of the body that belong to the opcode, extensions left out. */
  size = 0
  /** Where the last name read ended: the offset after its NUL. */
  end = 0

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes)
    this.view = new DataView(this.buffer.buffer, this.buffer.byteOffset, bytes)
  }

  /** Reads the header of a request of `n` bytes. @returns false where it is malformed: what there is of it is loaded */
  load(n: number): boolean {
    const v = this.view
    this.opcode = v.getUint32(IN.opcode, true)
    this.uniqueLow = v.getUint32(IN.unique, true)
    this.uniqueHigh = v.getUint32(IN.unique + 4, true)
    this.node = v.getUint32(IN.node, true) + v.getUint32(IN.node + 4, true) * 0x100000000
    const caller = this.caller
    caller.uid = v.getUint32(IN.uid, true)
    caller.gid = v.getUint32(IN.gid, true)
    caller.pid = v.getUint32(IN.pid, true)
    caller.umask = 0
    this.size = n - IN_HEADER - v.getUint16(IN.extlen, true) * 8
    return n >= IN_HEADER && v.getUint32(IN.len, true) === n && this.size >= 0
  }

  /** How much of a file it reads or writes. */
  get fileBytes(): number {
    if (this.opcode === FUSE_READ) return this.u32(READ_IN.count)
    return this.opcode === FUSE_WRITE ? this.u32(WRITE_IN.count) : 0
  }

  u32(at: number): number {
    return this.view.getUint32(IN_HEADER + at, true)
  }

  /** Exact below 2^53; what is above comes out rounded, and no file is that large. */
  u64(at: number): number {
    const low = this.view.getUint32(IN_HEADER + at, true)
    const high = this.view.getUint32(IN_HEADER + at + 4, true)
    return high === 0 ? low : low + high * 0x100000000
  }

  s64(at: number): number {
    return (
      this.view.getUint32(IN_HEADER + at, true) + this.view.getInt32(IN_HEADER + at + 4, true) * 0x100000000
    )
  }

  /**
   * The name at `at`, up to its NUL, and sets `end`.
   *
   * @returns undefined where it is empty, holds a slash or has no NUL within the body
   */
  name(at: number): Name | undefined {
    const b = this.buffer
    const limit = IN_HEADER + this.size
    const start = IN_HEADER + at
    let i = start
    while (i < limit && b[i] !== 0) {
      if (b[i] === 0x2f) return undefined
      i++
    }
    if (i >= limit || i === start) return undefined
    this.end = i + 1 - IN_HEADER
    return b.toString('latin1', start, i)
  }

  /** Text at `at` up to its NUL: the target of a symlink, the name of an xattr. It may hold slashes. */
  text(at: number): string | undefined {
    const start = IN_HEADER + at
    const i = this.buffer.indexOf(0, start)
    if (i < 0 || i >= IN_HEADER + this.size || i === start) return undefined
    this.end = i + 1 - IN_HEADER
    return this.buffer.toString('latin1', start, i)
  }

  /** A view of `count` bytes at `at`: the data of a WRITE. */
  data(at: number, count: number): Buffer {
    const start = IN_HEADER + at
    if (count % PAGE !== 0) return this.buffer.subarray(start, start + count)
    const index = count / PAGE
    let view = this.pages[index]
    if (view === undefined || view.byteOffset !== this.buffer.byteOffset + start) {
      view = this.buffer.subarray(start, start + count)
      this.pages[index] = view
    }
    return view
  }
}
