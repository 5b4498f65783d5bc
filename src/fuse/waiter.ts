/** The ways in which a session's thread waits for its next request: `WakeMode` in wake.ts says what each is for. */

import { EAGAIN, EPERM } from '../abi/linux.js'
import { readFd, setNonblocking, waitReadable } from '../sys/device.js'
import {
  affinity,
  bindToProcessor,
  mayTakeTurnsAgain,
  ProcessorLook,
  runWhenIdle,
  setAffinity,
  takeTurnsAgain,
} from '../sys/thread.js'
import type { Result } from '../vfs.js'

export interface Waiter {
  /** Has the thread run, and its descriptor block or not, as this way takes it. @returns -EPERM where that is not permitted */
  enter(): Result
  /** Reads the next request. */
  read(dst: Buffer): Result
  /** Hears who sent the request just read, when (performance.now), and how many bytes of a file it moves. */
  heard(tid: number, now: number, bytes: number): void
  /** Lets the thread run as it did before. */
  leave(): void
  /** The same, for good. */
  close(): void
}

export class Free implements Waiter {
  constructor(protected readonly fd: number) {}

  enter(): Result {
    return setNonblocking(this.fd, false)
  }

  read(dst: Buffer): Result {
    return readFd(this.fd, dst)
  }

  /** As `read`, of a descriptor that does not block. */
  protected sleep(dst: Buffer): Result {
    const ready = waitReadable(this.fd, -1)
    return ready < 0 ? ready : readFd(this.fd, dst)
  }

  heard(_tid: number, _now: number): void {}

  leave(): void {}

  close(): void {
    this.leave()
  }
}

/** A thread that binds itself to processors, and may be let go again. */
class Bound extends Free {
  protected processor = -1
  protected readonly look = new ProcessorLook()
  private readonly before = affinity()

  protected moveTo(processor: number): void {
    if (processor < 0 || processor === this.processor) return
    if (bindToProcessor(processor) >= 0) this.processor = processor
  }

  override leave(): void {
    if (this.processor < 0) return
    setAffinity(this.before)
    this.processor = -1
  }

  override close(): void {
    this.look.close()
    super.close()
  }
}

/** Time between two looks at where a caller runs, milliseconds: a look costs as much as a request. Longer while it stays where it is. */
const LOOK_MS = 2
const LONGEST_LOOK_MS = 32

export class Follow extends Bound {
  private next = 0
  private pause = LOOK_MS
  private caller = 0

  override heard(tid: number, now: number): void {
    if (tid === 0 || now < this.next) return
    const processor = this.look.of(tid)
    const same = tid === this.caller && processor === this.processor
    this.pause = same ? Math.min(this.pause * 2, LONGEST_LOOK_MS) : LOOK_MS
    this.next = now + this.pause
    this.caller = tid
    this.moveTo(processor)
  }

  override leave(): void {
    this.next = 0
    super.leave()
  }
}

/** How long `spin` asks before it sleeps, milliseconds. */
const SPIN_MS = 0.05

export class Spin extends Free {
  /** Times that it asked in vain and slept. */
  slept = 0

  override enter(): Result {
    return setNonblocking(this.fd, true)
  }

  override read(dst: Buffer): Result {
    let n = readFd(this.fd, dst)
    if (n !== -EAGAIN) return n
    const until = performance.now() + SPIN_MS
    do {
      n = readFd(this.fd, dst)
      if (n !== -EAGAIN) return n
    } while (performance.now() < until)
    this.slept++
    return this.sleep(dst)
  }
}

/** A request that comes so long after the one before has waited for this thread, or its caller computes: milliseconds. */
const LATE_MS = 2

/** A request that is not there when it asks tells that its caller has been moved elsewhere. */
export class Yield extends Bound {
  /** Requests that came late. */
  late = 0
  /** Whether the request just read had been slept for. */
  asleep = false
  private caller = 0
  private last = Number.POSITIVE_INFINITY
  private entered = false
  /** Whether this thread can take its old scheduling back. */
  readonly permitted = mayTakeTurnsAgain()

  override enter(): Result {
    if (!this.permitted) return -EPERM
    this.last = Number.POSITIVE_INFINITY
    const r = runWhenIdle()
    this.entered = r >= 0
    return r < 0 ? r : setNonblocking(this.fd, true)
  }

  override read(dst: Buffer): Result {
    this.asleep = false
    let n = readFd(this.fd, dst)
    if (n !== -EAGAIN) return n
    if (this.caller !== 0) {
      this.moveTo(this.look.of(this.caller))
      n = readFd(this.fd, dst)
      if (n !== -EAGAIN) return n
    }
    this.asleep = true
    return this.sleep(dst)
  }

  override heard(tid: number, now: number): void {
    if (tid !== 0) this.caller = tid
    if (now - this.last > LATE_MS && !this.asleep) this.late++
    this.last = now
  }

  override leave(): void {
    super.leave()
    if (this.entered) takeTurnsAgain(0)
    this.entered = false
  }
}
