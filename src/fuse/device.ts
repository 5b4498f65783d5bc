import { EAGAIN, ENOENT } from '../abi/linux.js'
import { backingClose, backingOpen, secondIsReadable, writeFd } from '../sys/device.js'
import { close } from '../sys/file.js'
import { Pipe } from '../sys/pipe.js'
import type { Result } from '../vfs.js'
import type { Device } from './session.js'
import type { Waiter } from './waiter.js'
import { type WakeMode, waiter } from './wake.js'
import type { Watched } from './watch.js'

/** What any user may have: /proc/sys/fs/pipe-max-size is not less. */
const PIPE_BYTES = 1 << 20
const PAGE = 4096

function sendThrough(
  pipe: Pipe,
  to: number,
  head: Buffer,
  headBytes: number,
  fd: number,
  pos: number,
  count: number,
): Result {
  const r = pipe.write(head, headBytes)
  const n = r < 0 ? r : pipe.fill(fd, pos, count)
  if (n < 0) return n
  return n < count ? -EAGAIN : pipe.drain(to, headBytes + count)
}

/** /dev/fuse as a session sees it. */
export class FuseDevice implements Device {
  readonly fd: number
  private readonly waiter: Waiter
  /** Null where this user may have no pipe of that size. */
  private pipe: Pipe | null | undefined

  constructor(
    fd: number,
    wake: WakeMode,
    private readonly watched?: Watched,
  ) {
    this.fd = fd
    this.waiter = waiter(wake, fd, watched)
  }

  read(dst: Buffer): Result {
    return this.waiter.read(dst)
  }

  write(src: Buffer, count: number): Result {
    return writeFd(this.fd, src, count)
  }

  sendFile(head: Buffer, headBytes: number, fd: number, pos: number, count: number): Result {
    if (count > PIPE_BYTES - 2 * PAGE) return -EAGAIN
    this.pipe ??= Pipe.open(PIPE_BYTES) ?? null
    if (this.pipe === null) return -EAGAIN
    const r = sendThrough(this.pipe, this.fd, head, headBytes, fd, pos, count)
    if (r >= 0) return r
    // It may hold an answer that was not sent.
    this.pipe.close()
    this.pipe = undefined
    // Nobody waits for it any more.
    return r === -ENOENT ? 0 : r
  }

  endedBefore(event: number): boolean {
    return secondIsReadable(this.fd, event)
  }

  heard(tid: number, now: number, bytes: number): void {
    this.waiter.heard(tid, now, bytes)
  }

  backingOpen(fd: number): Result {
    return backingOpen(this.fd, fd)
  }

  backingClose(backing: number): Result {
    return backingClose(this.fd, backing)
  }

  /** Ends the connection where it still stands: what waits for an answer gets ECONNABORTED. */
  close(): void {
    this.waiter.close()
    this.watched?.close()
    this.pipe?.close()
    close(this.fd)
  }
}
