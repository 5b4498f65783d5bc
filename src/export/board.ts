/**
 * Batches of links to make, in memory that threads share. The main thread fills free slots; a worker takes a full one,
 * makes its links, notes which were refused and says that it is done. A slot is 'free' only to the main thread.
 */

/** Most names of one batch. */
export const BATCH_NAMES = 512
/** Room for their bytes, NUL-ended. */
const NAMES_BYTES = 32 * 1024
const SLOTS = 16

export const FREE = 0
export const FULL = 1
export const TAKEN = 2
export const DONE = 3

// Words of the board, before the slots.
const ALIVE = 0
const POSTED = 1
const FINISHED = 2
const STOPPED = 3
const BOARD_WORDS = 4
// Words of a slot.
const STATE = 0
const FROM = 1
const TO = 2
const COUNT = 3
const BYTES = 4
const SLOT_WORDS = 8

const SLOT_BYTES = SLOT_WORDS * 4 + BATCH_NAMES + NAMES_BYTES

export const BOARD_BYTES = BOARD_WORDS * 4 + SLOTS * SLOT_BYTES

/** One batch, seen from either side. */
export class Slot {
  private readonly words: Int32Array
  /** For each name whether its link was refused. */
  readonly refused: Uint8Array
  private readonly names: Buffer

  constructor(memory: SharedArrayBuffer, index: number) {
    const at = BOARD_WORDS * 4 + index * SLOT_BYTES
    this.words = new Int32Array(memory, at, SLOT_WORDS)
    this.refused = new Uint8Array(memory, at + SLOT_WORDS * 4, BATCH_NAMES)
    this.names = Buffer.from(memory, at + SLOT_WORDS * 4 + BATCH_NAMES, NAMES_BYTES)
  }

  get state(): number {
    return Atomics.load(this.words, STATE)
  }

  set state(state: number) {
    Atomics.store(this.words, STATE, state)
  }

  /** Takes a full slot. @returns whether no other thread has */
  take(): boolean {
    return Atomics.compareExchange(this.words, STATE, FULL, TAKEN) === FULL
  }

  get fromFd(): number {
    return this.words[FROM] as number
  }

  get toFd(): number {
    return this.words[TO] as number
  }

  get count(): number {
    return this.words[COUNT] as number
  }

  /** Begins a batch of links from one directory into another. */
  begin(fromFd: number, toFd: number): void {
    this.words[FROM] = fromFd
    this.words[TO] = toFd
    this.words[COUNT] = 0
    this.words[BYTES] = 0
  }

  /** Adds a name. @returns false where the slot is full */
  add(name: string): boolean {
    const count = this.count
    const at = this.words[BYTES] as number
    if (count === BATCH_NAMES || at + name.length + 1 > NAMES_BYTES) return false
    this.names.write(name, at, 'latin1')
    this.names[at + name.length] = 0
    this.words[BYTES] = at + name.length + 1
    this.words[COUNT] = count + 1
    this.refused[count] = 0
    return true
  }

  /** Calls `each` with every name's bytes, NUL-ended, and its position. */
  forEach(each: (name: Buffer, at: number) => void): void {
    let start = 0
    for (let at = 0; at < this.count; at++) {
      const end = this.names.indexOf(0, start) + 1
      each(this.names.subarray(start, end), at)
      start = end
    }
  }
}

export class Board {
  readonly slots: readonly Slot[]
  private readonly words: Int32Array

  constructor(readonly memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, BOARD_WORDS)
    this.slots = Array.from({ length: SLOTS }, (_, index) => new Slot(memory, index))
  }

  /** How many workers have begun. */
  get alive(): number {
    return Atomics.load(this.words, ALIVE)
  }

  begin(): void {
    Atomics.add(this.words, ALIVE, 1)
  }

  get stopped(): boolean {
    return Atomics.load(this.words, STOPPED) !== 0
  }

  stop(): void {
    Atomics.store(this.words, STOPPED, 1)
    this.wake(POSTED)
  }

  /** Tells the workers that a slot is full. */
  post(): void {
    this.wake(POSTED)
  }

  /** Tells the main thread that a slot is done. */
  finish(): void {
    this.wake(FINISHED)
  }

  /** Read before looking at the slots: what is posted afterwards ends the wait for it. */
  get posted(): number {
    return Atomics.load(this.words, POSTED)
  }

  get finished(): number {
    return Atomics.load(this.words, FINISHED)
  }

  waitPosted(seen: number): void {
    Atomics.wait(this.words, POSTED, seen)
  }

  waitFinished(seen: number): void {
    Atomics.wait(this.words, FINISHED, seen)
  }

  private wake(word: number): void {
    Atomics.add(this.words, word, 1)
    Atomics.notify(this.words, word)
  }
}
