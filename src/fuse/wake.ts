import { availableParallelism } from 'node:os'
import { LayerfsError } from '../errors.js'
import { setNonblocking } from '../sys/device.js'
import { mayTakeTurnsAgain, preemptions } from '../sys/thread.js'
import type { Result } from '../vfs.js'
import { Follow, Free, Spin, type Waiter, Yield } from './waiter.js'
import type { Watched } from './watch.js'

/**
 * How the session's thread waits for the next request. A wake-up across processors costs ten times what the
 * request itself does, so:
 *
 * - `free`: a blocking read, and the scheduler decides where.
 * - `follow`: the thread moves to the processor of its latest caller, where it runs as soon as the caller waits.
 *   Good where all processors are busy: an idle one takes the caller away again.
 * - `spin`: asks again for a while before it sleeps. Good where a processor is idle.
 * - `yield`: follows, and runs at SCHED_IDLE: sched(7) counts a processor that runs nothing else as idle, so the
 *   caller who has his answer goes on there at once, and nobody is woken elsewhere. Good for one caller at a time
 *   who hardly computes; others may take the processor away. Takes CAP_SYS_NICE.
 * - `adaptive`: spins while that finds requests, yields while they are all one caller's, follows while neither pays.
 *
 * None costs anything at rest.
 */
export type WakeMode = 'adaptive' | 'free' | 'follow' | 'spin' | 'yield'

/** What `adaptive` needs of the watch. */
export type Overseer = Pick<Watched, 'ask' | 'dismiss' | 'rescued' | 'served'>

/** Requests after which spinning and yielding have to justify themselves: */
const TERM = 128
/** no more than so many may have been slept for, or have cost a processor that others wanted; */
const MISSES = TERM / 4
/** where the thread yields, no more than so many may not have been there when it asked, */
const APART = (TERM * 3) / 4
/** no more than so many may come from another caller than the one before, */
const CHANGES = TERM / 16
/** no more bytes may be moved (copying beside the caller is faster than in his place), */
const BULK = TERM * 4096
/** and no more may come late. */
const LATE = 4
/** Requests in whose time V8 compiles: it wakes its threads where a processor looks idle, as one does whose thread yields. */
const WARM = 16 * TERM
/** Requests for which it follows after a failure: the more the oftener that has happened. */
const REST = 8 * TERM
const LONGEST_REST = 64 * TERM

class Adaptive implements Waiter {
  private readonly spin: Spin
  private readonly follow: Follow
  private readonly yield: Yield
  private readonly mayYield: boolean
  private now: Spin | Follow | Yield
  /** Requests until the next decision. */
  private left = TERM
  private seen = 0
  private yieldFrom = WARM
  private yieldRest = REST
  private rest = REST
  private lost = preemptions()
  private caller = 0
  private changes = 0
  private bytes = 0

  constructor(
    private readonly fd: number,
    private readonly watched: Overseer | undefined,
  ) {
    this.mayYield = watched !== undefined && mayTakeTurnsAgain()
    this.spin = new Spin(fd)
    this.follow = new Follow(fd)
    this.yield = new Yield(fd)
    this.now = this.spin
    setNonblocking(fd, true)
  }

  read(dst: Buffer): Result {
    return this.now.read(dst)
  }

  moved(bytes: number): void {
    this.bytes += bytes
  }

  heard(tid: number, now: number): void {
    this.now.heard(tid, now)
    if (tid !== 0 && tid !== this.caller) {
      this.caller = tid
      this.changes++
    }
    this.watched?.served()
    this.seen++
    this.left--
    if (this.now === this.yield && this.hindered()) this.stopYielding()
    else if (this.left <= 0) this.judge(now)
  }

  /** Whether somebody takes the processor that this thread leaves to its caller. */
  private hindered(): boolean {
    return this.yield.late > LATE || (this.watched?.rescued === true && !this.yield.asleep)
  }

  private stopYielding(): void {
    this.yieldFrom = this.seen + this.yieldRest
    this.yieldRest = Math.min(this.yieldRest * 2, LONGEST_REST)
    this.startSpinning()
  }

  private judge(now: number): void {
    const { spin } = this
    const one = this.mayYield && this.caller !== 0 && this.changes <= CHANGES && this.bytes <= BULK
    if (this.now === this.yield) {
      if (!one || this.watched?.rescued) this.startSpinning()
      else if (this.yield.slept > APART) this.stopYielding()
      else this.startYielding()
      return
    }
    const failed = this.now === spin && spin.slept + preemptions() - this.lost > MISSES
    if (this.now === spin && !failed) this.rest = REST
    if (one && this.mayStartYielding(now)) this.startYielding()
    else if (failed) this.startFollowing()
    else this.startSpinning()
  }

  private mayStartYielding(now: number): boolean {
    return this.seen >= this.yieldFrom && this.watched?.ask(now) === true
  }

  private startSpinning(): void {
    this.change(this.spin, TERM)
  }

  private startYielding(): void {
    this.change(this.yield, TERM)
  }

  private startFollowing(): void {
    this.change(this.follow, this.rest)
    this.rest = Math.min(this.rest * 2, LONGEST_REST)
  }

  private change(to: Spin | Follow | Yield, term: number): void {
    if (to !== this.now) {
      this.now.leave()
      setNonblocking(this.fd, to !== this.follow)
      if (to === this.yield) this.yield.enter()
      else this.watched?.dismiss()
      this.now = to
    }
    this.left = term
    this.spin.slept = this.yield.slept = this.yield.late = this.changes = this.bytes = 0
    if (to === this.spin) this.lost = preemptions()
  }

  leave(): void {
    this.now.leave()
  }

  close(): void {
    this.follow.close()
    this.yield.close()
  }
}

/**
 * With one processor, nobody can send a request while this thread spins, and all callers are where it is.
 *
 * @param watched who watches over this thread; without it `adaptive` does not yield
 * @throws LayerfsError UNSUPPORTED where `yield` is not permitted
 */
export function waiter(mode: WakeMode, fd: number, watched?: Overseer): Waiter {
  switch (mode) {
    case 'adaptive':
      return availableParallelism() > 1 ? new Adaptive(fd, watched) : new Free(fd)
    case 'free':
      return new Free(fd)
    case 'follow':
      return new Follow(fd)
    case 'spin':
      setNonblocking(fd, true)
      return new Spin(fd)
    case 'yield': {
      const one = new Yield(fd)
      if (!mayTakeTurnsAgain() || one.enter() < 0)
        throw new LayerfsError('UNSUPPORTED', 'wake=yield takes CAP_SYS_NICE, as root has it: leave it out')
      setNonblocking(fd, true)
      return one
    }
  }
}
