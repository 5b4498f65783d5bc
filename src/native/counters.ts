/** What a mount has answered so far, in the shape that the kernel transport tells it in. */
export interface NativeStats {
  /** Requests answered, of all kinds. */
  requests: number
  /** Requests answered with an errno. A name that is not there counts. */
  errors: number
  bytesWritten: number
  bytesRead: number
  /** By libfuse's name of the operation; `ms` is the time spent answering, milliseconds, all together. */
  ops: Record<string, { count: number; ms: number }>
}

export class Counters {
  readonly #ops = new Map<string, { count: number; ms: number }>()
  #errors = 0
  #bytesWritten = 0
  #bytesRead = 0

  /** @param result as answered: an errno if below 0, for read and write else the bytes */
  count(op: string, ms: number, result: number): void {
    let sum = this.#ops.get(op)
    if (sum === undefined) {
      sum = { count: 0, ms: 0 }
      this.#ops.set(op, sum)
    }
    sum.count++
    sum.ms += ms
    if (result < 0) this.#errors++
    else if (op === 'read') this.#bytesRead += result
    else if (op === 'write') this.#bytesWritten += result
  }

  snapshot(): NativeStats {
    const ops: NativeStats['ops'] = {}
    let requests = 0
    for (const [op, { count, ms }] of this.#ops) {
      requests += count
      ops[op] = { count, ms: Math.round(ms * 1000) / 1000 }
    }
    return {
      requests,
      errors: this.#errors,
      bytesWritten: this.#bytesWritten,
      bytesRead: this.#bytesRead,
      ops,
    }
  }
}
