import { availableParallelism } from 'node:os'
import { EAGAIN } from '../abi/linux.js'
import { readFd, setNonblocking, waitReadable } from '../sys/device.js'
import { affinity, bindToProcessor, ProcessorLook, preemptions, setAffinity } from '../sys/thread.js'
import type { Result } from '../vfs.js'

/**
 * How the session's thread waits for the next request. A wake-up across processors costs ten times what the
 * request itself does, so:
 *
 * - `free`: a blocking read, and the scheduler decides where.
 * - `follow`: the thread moves to the processor of its latest caller, where it runs as soon as the caller waits.
 *   Good where all processors are busy: an idle one takes the caller away again.
 * - `spin`: asks again for a while before it sleeps. Good where a processor is idle.
 * - `adaptive`: spins while that finds requests, and follows while it does not.
 *
 * None costs anything at rest.
 */
export type WakeMode = 'adaptive' | 'free' | 'follow' | 'spin'

export interface Waiter {
  /** Reads the next request. */
  read(dst: Buffer): Result
  /** Hears who sent the request just read, and when. */
  heard(tid: number, now: number): void
  /** Leaves the thread as it was. */
  close(): void
}

class Free implements Waiter {
  constructor(protected readonly fd: number) {}

  read(dst: Buffer): Result {
    return readFd(this.fd, dst)
  }

  heard(_tid: number, _now: number): void {}

  close(): void {}
}

/** Time between two looks at where a caller runs, milliseconds: a look costs as much as a request. Longer while it stays where it is. */
const LOOK_MS = 2
const LONGEST_LOOK_MS = 32

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

  /** Lets the thread run anywhere again. */
  leave(): void {
    this.next = 0
    if (this.processor < 0) return
    setAffinity(this.before)
    this.processor = -1
  }

  override close(): void {
    this.look.close()
    this.leave()
  }
}

/** How long `spin` asks before it sleeps, milliseconds. */
const SPIN_MS = 0.05

/** Wants its descriptor not to block. */
class Spin extends Free {
  /** Times that it asked in vain and slept. */
  slept = 0

  override read(dst: Buffer): Result {
    let n = readFd(this.fd, dst)
    if (n !== -EAGAIN) return n
    const until = performance.now() + SPIN_MS
    do {
      n = readFd(this.fd, dst)
      if (n !== -EAGAIN) return n
    } while (performance.now() < until)
    this.slept++
    const ready = waitReadable(this.fd, -1)
    return ready < 0 ? ready : readFd(this.fd, dst)
  }
}

/** Requests after which spinning has to justify itself, */
const TERM = 128
/** with no more than so many of them slept for or processors lost to others meanwhile. */
const MISSES = TERM / 4
/** Requests for which it follows then: the more the oftener spinning has failed. */
const REST = 8 * TERM
const LONGEST_REST = 64 * TERM

class Adaptive implements Waiter {
  private readonly spin: Spin
  private readonly follow: Follow
  private spinning = true
  /** Requests until the next decision. */
  private left = TERM
  private rest = REST
  private lost = preemptions()

  constructor(private readonly fd: number) {
    this.spin = new Spin(fd)
    this.follow = new Follow(fd)
    setNonblocking(fd, true)
  }

  read(dst: Buffer): Result {
    return this.spinning ? this.spin.read(dst) : this.follow.read(dst)
  }

  heard(tid: number, now: number): void {
    if (!this.spinning) this.follow.heard(tid, now)
    if (--this.left > 0) return
    if (this.spinning) this.judge()
    else this.startSpinning()
  }

  private judge(): void {
    const lost = preemptions()
    const misses = this.spin.slept + lost - this.lost
    this.lost = lost
    this.spin.slept = 0
    if (misses <= MISSES) {
      this.left = TERM
      this.rest = REST
      return
    }
    this.spinning = false
    this.left = this.rest
    this.rest = Math.min(this.rest * 2, LONGEST_REST)
    setNonblocking(this.fd, false)
  }

  private startSpinning(): void {
    this.spinning = true
    this.left = TERM
    this.lost = preemptions()
    this.follow.leave()
    setNonblocking(this.fd, true)
  }

  close(): void {
    this.follow.close()
  }
}

/** With one processor, nobody can send a request while this thread spins, and all callers are where it is. */
export function waiter(mode: WakeMode, fd: number): Waiter {
  switch (mode) {
    case 'adaptive':
      return availableParallelism() > 1 ? new Adaptive(fd) : new Free(fd)
    case 'free':
      return new Free(fd)
    case 'follow':
      return new Follow(fd)
    case 'spin':
      setNonblocking(fd, true)
      return new Spin(fd)
  }
}
