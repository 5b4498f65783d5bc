import type { Fh, Filesystem } from '../vfs.js'
import type { Reply } from './reply.js'
import type { Request } from './request.js'

/** From this size on it costs less to have the kernel move the pages than to copy them through this process. */
const WORTH_BYTES = 64 * 1024

/** Sends a header of `head` bytes and then `count` bytes of a file from `pos` on. @returns -errno where nothing has been sent */
export type SendFile = (head: Buffer, headBytes: number, fd: number, pos: number, count: number) => number

/** Answers READ by splice(2): what is read goes from the file's pages to the caller's, and not through ours. */
export class Splice {
  /** READs answered so. */
  given = 0

  constructor(
    private readonly fs: Filesystem,
    private readonly reply: Reply,
    private readonly send: SendFile,
  ) {}

  /** @returns false where `count` bytes are not to be had this way: the caller has to read */
  answer(req: Request, fh: Fh, pos: number, count: number): boolean {
    if (count < WORTH_BYTES) return false
    const fd = this.fs.source?.(req.node, fh) ?? -1
    if (fd < 0) return false
    const { reply } = this
    const headBytes = reply.head(req, 0, count) - count
    if (this.send(reply.buffer, headBytes, fd, pos, count) < 0) return false
    this.given++
    return true
  }
}
