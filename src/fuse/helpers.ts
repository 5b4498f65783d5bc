/** Helper threads of a session: what would hold up every other request is done there. Started when first needed. */

import { Worker } from 'node:worker_threads'
import { EAGAIN, EIO } from '../abi/linux.js'
import { closeEvent, drainEvent, makeEvent } from '../sys/event.js'
import { affinity } from '../sys/thread.js'
import { type Helpers, type Job, type JobId, PARKED, type Result } from '../vfs.js'
import type { Store } from './store.js'

/** Jobs that may be under way at once; each further one is done by the session itself. */
const MAX_JOBS = 64
/** Threads at most: these jobs wait for disks, not for processors. */
const MAX_THREADS = 4

/** What a helper thread is told: see helper.ts at the top of the tree. */
export interface Order {
  job: Job | Store
  slot: number
  /** Two cells a slot: its state, and the job's result. */
  cells: SharedArrayBuffer
  /** Descriptor that counts finished jobs: eventfd(2). */
  event: number
}

export const FREE = 0
export const RUNNING = 1
export const DONE = 2

export class HelperThreads implements Helpers {
  /** Readable when a job has ended: eventfd(2). */
  event = -1
  private readonly cells = new SharedArrayBuffer(MAX_JOBS * 2 * 4)
  private readonly states = new Int32Array(this.cells)
  private readonly threads: { worker: Worker; load: number }[] = []
  private readonly assigned: number[] = []

  /** What its threads may run on: the session that makes this one binds itself to single processors later. */
  private readonly processors = affinity()

  /**
   * @param entry the module that a helper thread runs
   * @param awaited whether a request waits for the session
   */
  constructor(
    private readonly entry: URL,
    readonly awaited: () => boolean,
  ) {}

  start(job: Job | Store): JobId | Result {
    if (this.event < 0) this.event = makeEvent()
    if (this.event < 0) return -EAGAIN
    const slot = this.freeSlot()
    if (slot < 0) return -EAGAIN
    const index = this.idlest()
    const thread = this.threads[index]
    if (thread === undefined) return -EAGAIN
    Atomics.store(this.states, slot * 2, RUNNING)
    this.assigned[slot] = index
    thread.load++
    const order: Order = { job, slot, cells: this.cells, event: this.event }
    thread.worker.postMessage(order)
    return slot
  }

  private freeSlot(): number {
    for (let slot = 0; slot < MAX_JOBS; slot++) if (Atomics.load(this.states, slot * 2) === FREE) return slot
    return -1
  }

  private idlest(): number {
    let best = -1
    for (const [i, thread] of this.threads.entries())
      if (best < 0 || thread.load < (this.threads[best]?.load ?? 0)) best = i
    if (best >= 0 && (this.threads[best]?.load === 0 || this.threads.length >= MAX_THREADS)) return best
    const worker = new Worker(this.entry, { execArgv: [], workerData: this.processors })
    worker.unref()
    return this.threads.push({ worker, load: 0 }) - 1
  }

  take(id: JobId): Result {
    const state = Atomics.load(this.states, id * 2)
    if (state === RUNNING) return PARKED
    if (state !== DONE) return -EIO
    const r = Atomics.load(this.states, id * 2 + 1)
    Atomics.store(this.states, id * 2, FREE)
    const thread = this.threads[this.assigned[id] ?? -1]
    if (thread !== undefined) thread.load--
    return r
  }

  /** Ends the threads, once their last jobs are through. */
  async close(): Promise<void> {
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()))
    if (this.event >= 0) closeEvent(this.event)
    this.event = -1
  }

  /** Forgets that jobs have ended, before they are looked at. */
  drain(): void {
    drainEvent(this.event)
  }
}
