import * as F from '../abi/fuse.js'
import type { Fh, Filesystem, NodeId } from '../vfs.js'
import type { Reply } from './reply.js'

/**
 * Gives the kernel the pages of a small file before OPEN is answered (FUSE_NOTIFY_STORE), so that no READ follows.
 *
 * The kernel locks the pages that it stores into. It would wait for ever for one that is locked until this thread
 * answers a READ, so a file may only be given while nobody has it open: then nothing reads or faults in its pages.
 */
export class Preload {
  /** Files given. */
  given = 0
  /** The latest thread to have had a file copied by COPY_FILE_RANGE: it does not read what it opens. */
  private copier = 0

  constructor(
    private readonly fs: Filesystem,
    private readonly reply: Reply,
    private readonly send: (src: Buffer, count: number) => number,
  ) {}

  /** A thread has had a file copied by us. */
  copied(tid: number): void {
    this.copier = tid
  }

  /** A thread has read a file. */
  wasRead(tid: number): void {
    if (tid === this.copier) this.copier = 0
  }

  /** Whether a thread that opens a file is expected to read it. */
  readBy(tid: number): boolean {
    return tid === 0 || tid !== this.copier
  }

  /** Uses the reply's buffer. What cannot be read or stored is left to READ, which tells the caller why. */
  give(node: NodeId, fh: Fh, size: number): void {
    const { fs, reply } = this
    const n = fs.read(node, fh, reply.body(F.STORE_OUT.size + size).subarray(F.STORE_OUT.size), 0)
    if (n <= 0) return
    const stored = this.send(reply.buffer, reply.store(node, 0, n))
    if (stored >= 0) this.given++
  }
}
