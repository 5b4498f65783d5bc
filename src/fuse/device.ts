import { backingClose, backingOpen, secondIsReadable, writeFd } from '../sys/device.js'
import { close } from '../sys/file.js'
import type { Result } from '../vfs.js'
import type { Device } from './session.js'
import type { Waiter } from './waiter.js'
import { type WakeMode, waiter } from './wake.js'
import type { Watched } from './watch.js'

/** /dev/fuse as a session sees it. */
export class FuseDevice implements Device {
  readonly fd: number
  private readonly waiter: Waiter

  constructor(
    fd: number,
    wake: WakeMode,
    private readonly watched?: Watched,
  ) {
    this.fd = fd
    this.waiter = waiter(wake, fd, watched)
  }

  read(dst: Buffer): Result {
    const n = this.waiter.read(dst)
    this.waiter.moved(n)
    return n
  }

  write(src: Buffer, count: number): Result {
    this.waiter.moved(count)
    return writeFd(this.fd, src, count)
  }

  endedBefore(event: number): boolean {
    return secondIsReadable(this.fd, event)
  }

  heard(tid: number, now: number): void {
    this.waiter.heard(tid, now)
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
    close(this.fd)
  }
}
