/** The waiter that finds out by measuring: `adaptive` of WakeMode. */

import { preemptions } from '../sys/thread.js'
import type { Result } from '../vfs.js'
import { Follow, Spin, type Waiter, Yield } from './waiter.js'
import type { Watched } from './watch.js'

/** What it needs of the watch. */
export type Overseer = Pick<Watched, 'ask' | 'dismiss' | 'processorIdle' | 'rescued' | 'served'>

/** Requests after which the way that they were waited for is judged. */
const TERM = 128
/** Of them no more than so many may have been slept for, or have cost a processor that others wanted, while it spun. */
const MISSES = TERM / 8
/** Of them no more than so many may come late, while it yielded. */
const LATE = 4
/** What another way has to take of the time that spinning takes: less is chance. */
const WORTH_IT = 0.95
/** Requests that move so many bytes of a file, on average, are best answered beside the caller: both copy at once. */
const BULK = 64 * 1024
/** What is longer between two requests is the caller's own pause, milliseconds. */
const PAUSE_MS = 1

/** Requests for which a way is left alone that failed, or taken for the fastest: longer each time that it is found so again. */
const SHORTEST = 4 * TERM
const LONGEST = 64 * TERM
const longer = (requests: number): number => Math.min(requests * 2, LONGEST)

/** The mean time from one request to the next. */
class Pace {
  private last = Number.POSITIVE_INFINITY
  private sum = 0
  private count = 0

  heard(now: number): void {
    const pause = now - this.last
    this.last = now
    if (pause < 0) return
    this.sum += Math.min(pause, PAUSE_MS)
    this.count++
  }

  /** Since the last call, milliseconds. */
  take(): number {
    const mean = this.sum / this.count
    this.sum = this.count = 0
    return mean
  }
}

/** What is known of a way other than spinning. Counts are of requests. */
class Trial {
  /** When it may be tried again, */
  private from = 0
  private rest = SHORTEST
  /** and when, once tried, it is compared with spinning anew. */
  private until = 0
  private trust = SHORTEST
  private slower = false

  constructor(readonly way: Follow | Yield) {}

  mayBegin(seen: number): boolean {
    return seen >= this.from
  }

  begin(seen: number): void {
    this.until = seen + this.trust
    this.slower = false
  }

  /**
   * Hears how one more term went. One slow term may be chance, two are not.
   * @returns whether it goes on
   */
  goesOn(seen: number, slower: boolean): boolean {
    if (slower && this.slower) {
      this.failed(seen)
      return false
    }
    this.slower = slower
    if (seen < this.until) return true
    this.trust = longer(this.trust)
    this.rest = SHORTEST
    return false
  }

  failed(seen: number): void {
    this.from = seen + this.rest
    this.rest = longer(this.rest)
    this.trust = SHORTEST
  }
}

/**
 * Spins, and tries the other ways for a term: yielding where a processor is idle, following where none is or spinning
 * finds nothing. What makes the requests come faster than spinning did, it keeps for a while. Large reads and writes it
 * always spins for.
 */
export class Adaptive implements Waiter {
  private readonly spin: Spin
  private readonly follow: Follow
  private readonly yield: Yield
  private readonly following: Trial
  private readonly yielding: Trial
  /** The way on trial; undefined while it spins. */
  private trial: Trial | undefined
  private readonly pace = new Pace()
  /** The pace of the last term in which it spun. */
  private spinning = 0
  private seen = 0
  /** Requests until the next decision. */
  private left = TERM
  private lost = 0
  /** Bytes that the term's requests have moved. */
  private bytes = 0

  /** @param watched without it this thread does not yield */
  constructor(
    fd: number,
    private readonly watched: Overseer | undefined,
  ) {
    this.spin = new Spin(fd)
    this.follow = new Follow(fd)
    this.yield = new Yield(fd)
    this.following = new Trial(this.follow)
    this.yielding = new Trial(this.yield)
  }

  enter(): Result {
    this.lost = preemptions()
    return this.spin.enter()
  }

  private get way(): Spin | Follow | Yield {
    return this.trial?.way ?? this.spin
  }

  read(dst: Buffer): Result {
    return this.way.read(dst)
  }

  heard(tid: number, now: number, bytes: number): void {
    this.way.heard(tid, now)
    this.pace.heard(now)
    this.bytes += bytes
    this.watched?.served()
    this.seen++
    this.left--
    if (this.trial === this.yielding && this.hindered()) {
      this.yielding.failed(this.seen)
      this.change(undefined)
    } else if (this.left <= 0) this.judge(now)
  }

  /** Whether somebody takes the processor that this thread leaves to its caller. */
  private hindered(): boolean {
    return this.yield.late > LATE || (this.watched?.rescued === true && !this.yield.asleep)
  }

  private judge(now: number): void {
    const pace = this.pace.take()
    const { trial, seen } = this
    if (trial === undefined) this.spinning = pace
    else if (!trial.goesOn(seen, pace > this.spinning * WORTH_IT)) {
      this.change(undefined)
      return
    }
    if (this.bytes > TERM * BULK) {
      this.change(undefined)
      return
    }
    const next = trial === this.yielding ? trial : this.better(now)
    if (next !== trial) next?.begin(seen)
    this.change(next)
  }

  /** The way to try, or to go on with. */
  private better(now: number): Trial | undefined {
    const idle = this.watched?.processorIdle() ?? true
    if (idle && this.yield.permitted && this.yielding.mayBegin(this.seen) && this.watched?.ask(now) === true)
      return this.yielding
    if (this.trial !== undefined) return this.trial
    const crowded = !idle || this.spin.slept + preemptions() - this.lost > MISSES
    return crowded && this.following.mayBegin(this.seen) ? this.following : undefined
  }

  private change(to: Trial | undefined): void {
    if (to !== this.trial) {
      this.way.leave()
      if (this.trial === this.yielding) this.watched?.dismiss()
      this.trial = to
      this.way.enter()
    }
    this.left = TERM
    this.bytes = 0
    this.spin.slept = this.yield.late = 0
    if (to === undefined) this.lost = preemptions()
  }

  leave(): void {
    this.way.leave()
  }

  close(): void {
    this.follow.close()
    this.yield.close()
  }
}
