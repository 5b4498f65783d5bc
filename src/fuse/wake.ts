import { EAGAIN } from '../abi/linux.js'
import { readFd, setNonblocking, waitReadable } from '../sys/device.js'
import { affinity, bindToProcessor, ProcessorLook, setAffinity } from '../sys/thread.js'
import type { Result } from '../vfs.js'

/**
 * How the session's thread waits for the next request. A wake-up across processors costs twenty times what the
 * request itself does, so:
 *
 * - `free`: a blocking read, and the scheduler decides where.
 * - `follow`: the thread moves to the processor of its latest caller. Good for one client at a time.
 * - `spin`: asks again for a while before it sleeps: processor time for latency.
 *
 * None costs anything at rest.
 */
export type WakeMode = 'free' | 'follow' | 'spin'

/** Time between two looks at where a caller runs, milliseconds: a look costs as much as a request. Longer while it stays where it is. */
const LOOK_MS = 2
const LONGEST_LOOK_MS = 32
/** How long `spin` asks before it sleeps, milliseconds. */
const SPIN_MS = 0.05

export interface Waiter {
  /** Reads the next request. */
  read(dst: Buffer): Result
  /** Hears who sent the request just read, and when. */
  heard(tid: number, now: number): void
  /** Leaves the thread as it was. */
  close(): void
}

class Free implements Waiter {
  protected readonly fd: number

  constructor(fd: number) {
    this.fd = fd
  }

  read(dst: Buffer): Result {
    return readFd(this.fd, dst)
  }

  heard(_tid: number, _now: number): void {}

  close(): void {}
}

class Follow extends Free {
  private next = 0
  private pause = LOOK_MS
  private caller = 0
  private processor = -1
  private readonly look = new ProcessorLook()
  private readonly before = affinity()

  override heard(tid: number, now: number): void {
    if (tid === 0 || now < this.next) return
    const processor = this.look.of(tid)
    const same = tid === this.caller && processor === this.processor
    this.pause = same ? Math.min(this.pause * 2, LONGEST_LOOK_MS) : LOOK_MS
    this.next = now + this.pause
    this.caller = tid
    if (processor < 0 || processor === this.processor) return
    if (bindToProcessor(processor) >= 0) this.processor = processor
  }

  override close(): void {
    this.look.close()
    setAffinity(this.before)
  }
}

class Spin extends Free {
  constructor(fd: number) {
    super(fd)
    setNonblocking(fd, true)
  }

  override read(dst: Buffer): Result {
    let n = readFd(this.fd, dst)
    if (n !== -EAGAIN) return n
    const until = performance.now() + SPIN_MS
    do {
      n = readFd(this.fd, dst)
      if (n !== -EAGAIN) return n
    } while (performance.now() < until)
    const ready = waitReadable(this.fd, -1)
    return ready < 0 ? ready : readFd(this.fd, dst)
  }
}

export function waiter(mode: WakeMode, fd: number): Waiter {
  switch (mode) {
    case 'free':
      return new Free(fd)
    case 'follow':
      return new Follow(fd)
    case 'spin':
      return new Spin(fd)
  }
}
