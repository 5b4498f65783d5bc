/**
 * A session that yields its processor (`WakeMode`) depends on others' leaving it some time. The thread that asked for
 * the mount watches over it: when the session has not moved for a while it gets its ordinary scheduling back, and hears
 * of it when it runs again. Both sides share cells; the session yields only while it hears the watch beat.
 */

import { type SpareProcessor, takeTurnsAgain } from '../sys/thread.js'
import { BEAT, SERVED, TID, YIELDS } from './link.js'

/** Values of the YIELDS cell. */
const NO = 0
const WATCH_ME = 1
const RESCUED = 2

/** Time between two beats, milliseconds: nobody waits much longer for a session that has lost its processor. */
const BEAT_MS = 10

/** The watching side. Does nothing while the session does not yield. */
export class Watch {
  private timer: NodeJS.Timeout | undefined

  constructor(private readonly cells: Int32Array) {}

  start(): void {
    if (this.timer !== undefined) return
    let served = -1
    this.timer = setInterval(() => {
      const { cells } = this
      const now = Atomics.load(cells, SERVED)
      if (Atomics.load(cells, YIELDS) !== WATCH_ME) this.stop()
      else if (now === served) this.rescue()
      else Atomics.add(cells, BEAT, 1)
      served = now
    }, BEAT_MS)
    this.timer.unref()
  }

  private rescue(): void {
    this.stop()
    if (Atomics.compareExchange(this.cells, YIELDS, WATCH_ME, RESCUED) !== WATCH_ME) return
    takeTurnsAgain(Atomics.load(this.cells, TID))
  }

  stop(): void {
    clearInterval(this.timer)
    this.timer = undefined
  }
}

/** A watch whose last beat is older than this does not run, milliseconds. */
const LOST_MS = 5 * BEAT_MS

/** The side that is watched. */
export class Watched {
  private beat = 0
  private heardAt = Number.NEGATIVE_INFINITY

  /** @param call has the other side start its watch */
  constructor(
    private readonly cells: Int32Array,
    private readonly spare: Pick<SpareProcessor, 'close' | 'exists'>,
    private readonly call: () => void,
  ) {}

  /** Whether a processor is idle. */
  processorIdle(): boolean {
    return this.spare.exists()
  }

  /** Asks to be watched. @returns whether that is so by now */
  ask(now: number): boolean {
    const { cells } = this
    if (Atomics.load(cells, YIELDS) !== WATCH_ME) {
      Atomics.store(cells, YIELDS, WATCH_ME)
      this.call()
    }
    const beat = Atomics.load(cells, BEAT)
    if (beat !== this.beat) this.heardAt = now
    this.beat = beat
    return now - this.heardAt < LOST_MS
  }

  /** One more request is served. */
  served(): void {
    this.cells[SERVED] = ((this.cells[SERVED] as number) + 1) | 0
  }

  get rescued(): boolean {
    return this.cells[YIELDS] === RESCUED
  }

  /** Needs no watch any longer. */
  dismiss(): void {
    Atomics.store(this.cells, YIELDS, NO)
  }

  close(): void {
    this.dismiss()
    this.spare.close()
  }
}
