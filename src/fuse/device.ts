import { backingClose, backingOpen, secondIsReadable, writeFd } from '../sys/device.js'
import { close } from '../sys/file.js'
import type { Result } from '../vfs.js'
import type { Device } from './session.js'
import { type Waiter, type WakeMode, waiter } from './wake.js'

/** /dev/fuse as a session sees it. */
export class FuseDevice implements Device {
  readonly fd: number
  private readonly waiter: Waiter

  constructor(fd: number, wake: WakeMode) {
    this.fd = fd
    this.waiter = waiter(wake, fd)
  }

  read(dst: Buffer): Result {
    return this.waiter.read(dst)
  }

  write(src: Buffer, count: number): Result {
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
    close(this.fd)
  }
}
