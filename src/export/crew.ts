/**
 * Worker threads that make links. linkat(2) waits for the filesystem most of the time, so threads help; but they take
 * some 50 ms to start, which only a large tree is worth.
 */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { O_DIRECTORY, O_PATH } from '../abi/linux.js'
import { close, open } from '../sys/file.js'
import type { Loc } from '../union/loc.js'
import { BATCH_NAMES, BOARD_BYTES, Board, DONE, FREE, FULL, type Slot } from './board.js'
import { check, type MergedDir } from './walk.js'

/** How many links are made before threads are started. */
const WORTH = 8192
/** Fewer links at a time than this are made faster than handed over. */
const MIN_BATCH = 16
const MAX_WORKERS = 4

/** A batch under way: entries of a directory's listing. */
interface Batch {
  slot: Slot
  dir: MergedDir
  out: Loc
  entries: number[]
}

export class Crew {
  private board: Board | undefined
  private readonly workers: Worker[] = []
  private readonly batches = new Map<Slot, Batch>()
  private made = 0

  /**
   * @param linked called for each link made
   * @param refused called for each entry whose link was refused, to do what can be done instead
   */
  constructor(
    private readonly linked: () => void,
    private readonly refused: (dir: MergedDir, at: number, out: Loc) => void,
  ) {}

  /** Whether there are threads that could take a batch. */
  get ready(): boolean {
    return this.board !== undefined && this.board.alive > 0
  }

  /** Counts links made without threads, and starts threads once there have been enough. */
  count(links: number): void {
    this.made += links
    if (this.board === undefined && this.made >= WORTH) this.start()
  }

  private start(): void {
    this.board = new Board(new SharedArrayBuffer(BOARD_BYTES))
    const count = Math.min(MAX_WORKERS, availableParallelism() - 1)
    for (let i = 0; i < count; i++) {
      const worker = new Worker(new URL('./linkworker.js', import.meta.url), {
        workerData: this.board.memory,
        execArgv: [],
      })
      // Without it the links are made here.
      worker.on('error', () => {})
      worker.unref()
      this.workers.push(worker)
    }
  }

  /**
   * Hands over the links of `entries`, all of which one directory provides.
   *
   * @returns how many were taken, from the first on; 0 where every thread is busy
   */
  hand(dir: MergedDir, from: Loc, out: Loc, entries: readonly number[]): number {
    if (entries.length < MIN_BATCH || !this.ready) return 0
    const board = this.board as Board
    this.collect()
    const slot = board.slots.find((s) => s.state === FREE)
    if (slot === undefined) return 0
    // Descriptors of its own: those of the cache may be closed meanwhile.
    const fromFd = check(
      open(check(from.fd(), 'open', dir.path), '.', O_PATH | O_DIRECTORY),
      'open',
      dir.path,
    )
    const toFd = open(check(out.fd(), 'open the new', dir.path), '.', O_PATH | O_DIRECTORY)
    if (toFd < 0) close(fromFd)
    slot.begin(fromFd, check(toFd, 'open the new', dir.path))
    let taken = 0
    while (taken < Math.min(entries.length, BATCH_NAMES)) {
      if (!slot.add(dir.listing.names[entries[taken] as number] as string)) break
      taken++
    }
    this.batches.set(slot, { slot, dir, out, entries: entries.slice(0, taken) })
    slot.state = FULL
    board.post()
    return taken
  }

  /** Whether links of a directory are still under way. */
  busy(dir: MergedDir): boolean {
    for (const batch of this.batches.values()) if (batch.dir === dir) return true
    return false
  }

  /** Takes in what has been done. */
  collect(): void {
    for (const batch of [...this.batches.values()]) if (batch.slot.state === DONE) this.settle(batch)
  }

  /** Goes on until something has been done: with a batch that no thread has begun, else by waiting for one that has. */
  await(): void {
    const board = this.board as Board
    const seen = board.finished
    const before = this.batches.size
    this.collect()
    if (this.batches.size < before) return
    for (const batch of this.batches.values()) {
      if (!batch.slot.take()) continue
      batch.slot.refused.fill(1)
      this.settle(batch)
      return
    }
    board.waitFinished(seen)
    this.collect()
  }

  private settle({ slot, dir, out, entries }: Batch): void {
    close(slot.fromFd)
    close(slot.toFd)
    const refused = entries.filter((_, i) => slot.refused[i] !== 0)
    this.batches.delete(slot)
    slot.state = FREE
    for (let i = refused.length; i < entries.length; i++) this.linked()
    for (const at of refused) this.refused(dir, at, out)
  }

  /** Ends the threads once their links are made. Nothing is taken in any more. */
  close(): void {
    const { board } = this
    if (board === undefined) return
    board.stop()
    while ([...this.batches.keys()].some((slot) => slot.state !== DONE)) {
      const seen = board.finished
      if ([...this.batches.keys()].some((slot) => slot.state !== DONE)) board.waitFinished(seen)
    }
    for (const slot of this.batches.keys()) {
      close(slot.fromFd)
      close(slot.toFd)
    }
    this.batches.clear()
  }
}
