import { OPCODES } from '../abi/fuse.js'

/** Slots of the shared array: totals, then a count and a time for each opcode. */
const BYTES_IN = 0
const BYTES_OUT = 1
const ERRORS = 2
const FIRST = 8
const SLOTS = FIRST + OPCODES * 2

/** What one kind of request has cost. */
export interface OpStats {
  count: number
  /** Milliseconds between reading the request and having answered it, all requests together. */
  ms: number
}

export interface MountStats {
  /** Requests answered, of all kinds. */
  requests: number
  /** Requests answered with an errno. A name that is not there counts. */
  errors: number
  /** Bytes that WRITE took and READ gave through the daemon; what passes by it is not counted. */
  bytesWritten: number
  bytesRead: number
  /** By name of the opcode: `LOOKUP`, ... */
  ops: Record<string, OpStats>
}

/** Counters in shared memory: the session's thread writes them, any thread reads them. */
export class Counters {
  readonly shared: SharedArrayBuffer
  private readonly slots: Float64Array

  constructor(shared = new SharedArrayBuffer(SLOTS * 8)) {
    this.shared = shared
    this.slots = new Float64Array(shared)
  }

  /** @param ms what the request took */
  count(opcode: number, ms: number, failed: boolean): void {
    const s = this.slots
    const at = FIRST + opcode * 2
    s[at] = (s[at] ?? 0) + 1
    s[at + 1] = (s[at + 1] ?? 0) + ms
    if (failed) s[ERRORS] = (s[ERRORS] ?? 0) + 1
  }

  read(bytes: number): void {
    this.slots[BYTES_OUT] = (this.slots[BYTES_OUT] ?? 0) + bytes
  }

  wrote(bytes: number): void {
    this.slots[BYTES_IN] = (this.slots[BYTES_IN] ?? 0) + bytes
  }

  /** @param nameOf the name of an opcode */
  snapshot(nameOf: (opcode: number) => string): MountStats {
    const s = this.slots
    const ops: Record<string, OpStats> = {}
    let requests = 0
    for (let opcode = 0; opcode < OPCODES; opcode++) {
      const count = s[FIRST + opcode * 2] ?? 0
      if (count === 0) continue
      requests += count
      ops[nameOf(opcode)] = { count, ms: Math.round((s[FIRST + opcode * 2 + 1] ?? 0) * 1000) / 1000 }
    }
    return {
      requests,
      errors: s[ERRORS] ?? 0,
      bytesWritten: s[BYTES_IN] ?? 0,
      bytesRead: s[BYTES_OUT] ?? 0,
      ops,
    }
  }
}
