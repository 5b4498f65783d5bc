/** Each request is answered once, in the binding's packing, whatever happens: what is not would hang its caller. */
import fs from 'node:fs'
import { beforeEach, describe, expect, it } from 'vitest'
import { EILSEQ, EIO, ENOENT } from '../../src/abi/linux.js'
import { type Handler, loadBinding } from '../../src/native/binding.js'
import { Counters } from '../../src/native/counters.js'
import { type Operations, wire } from '../../src/native/wire.js'

describe('loadBinding', () => {
  it('takes the libfuse 2 that the package brings, and none of the system', () => {
    loadBinding()
    const loaded = fs.readFileSync('/proc/self/maps', 'utf8').match(/\S*libfuse\.so\S*/g)
    expect(new Set(loaded)).toEqual(
      new Set([fs.realpathSync('node_modules/fuse-native/prebuilds/linux-x64/libfuse.so')]),
    )
  })
})

describe('wire', () => {
  const real = loadBinding()
  let answers: unknown[][]
  let calls: unknown[][]
  let outcome: (name: string) => number | string
  let failures: unknown[]
  let settled: number
  let handlers: readonly Handler[]
  let implemented: Uint32Array
  let counters: Counters

  beforeEach(() => {
    answers = []
    calls = []
    failures = []
    settled = 0
    counters = new Counters()
    outcome = () => 0
    const binding = new Proxy(real, {
      get(target, key) {
        const name = String(key)
        if (!name.startsWith('fuse_native_signal_')) return Reflect.get(target, key)
        return (...answer: unknown[]) => answers.push([name.slice(19), ...answer.slice(1)])
      },
    })
    const ops = new Proxy({} as Operations, {
      get:
        (_target, key) =>
        (...args: unknown[]) => {
          if (key === 'settle') {
            settled++
            return undefined
          }
          calls.push([key, ...args])
          return outcome(String(key))
        },
    })
    ;({ handlers, implemented } = wire(
      binding,
      ops,
      counters,
      () => answers.push(['ready']),
      (error) => failures.push(error),
    ))
  })

  /** Has a request dispatched as libfuse would. */
  const request = (
    op: keyof typeof real & `op_${string}`,
    args: unknown[],
    locals: Buffer = Buffer.alloc(512),
  ): void => {
    const code = real[op] as number
    const handler = handlers[code] as unknown as (...all: unknown[]) => void
    handler(locals, code, ...args)
  }

  it('implements the opcodes of the binding', () => {
    expect([...implemented].filter((n) => n === 1)).toHaveLength(30)
    expect(implemented[real.op_getattr]).toBe(1)
  })

  it('greets', () => {
    request('op_init', [])
    expect(answers).toEqual([['init', 0], ['ready']])
  })

  it('joins the halves of wide numbers', () => {
    request('op_truncate', ['/f', 7, 3])
    expect(calls).toEqual([['truncate', '/f', 3 * 2 ** 32 + 7]])
    expect(answers).toEqual([['truncate', 0]])
    expect(settled).toBe(1)
  })

  it('answers an exception with EIO, reports it and goes on', () => {
    outcome = () => {
      throw new Error('a defect')
    }
    request('op_getattr', ['/f'])
    request('op_mkdir', ['/d', 0o755])
    expect(answers.map((a) => a.slice(0, 2))).toEqual([
      ['getattr', -EIO],
      ['mkdir', -EIO],
    ])
    expect(failures).toHaveLength(2)
    expect(settled).toBe(2)
  })

  it('answers open with a handle or an errno, never both', () => {
    outcome = () => 5
    request('op_open', ['/f', 0])
    outcome = () => -ENOENT
    request('op_create', ['/f', 0o644])
    expect(answers).toEqual([
      ['open', 0, 5],
      ['create', -ENOENT, 0],
    ])
  })

  it('gives the buffers of reads back, failed or not', () => {
    const dst = Buffer.alloc(16)
    outcome = () => 9
    request('op_read', ['/f', 4, dst, 16, 1, 1])
    outcome = () => -EIO
    request('op_write', ['/f', 4, dst, 16, 0, 0])
    expect(calls[0]).toEqual(['read', 4, dst, 2 ** 32 + 1])
    expect(answers).toEqual([
      ['read', 9, 9, dst.buffer],
      ['write', -EIO, 0, dst.buffer],
    ])
    expect(counters.snapshot()).toMatchObject({ requests: 2, errors: 1, bytesRead: 9, bytesWritten: 0 })
  })

  it('answers readlink with the target, or none', () => {
    outcome = () => 'target'
    request('op_readlink', ['/l'])
    outcome = () => -ENOENT
    request('op_readlink', ['/l'])
    expect(answers).toEqual([
      ['readlink', 0, 'target'],
      ['readlink', -ENOENT, ''],
    ])
  })

  it('refuses names of xattrs that were damaged', () => {
    request('op_removexattr', ['/f', 'user.\ufffd'])
    expect(calls).toEqual([])
    expect(answers).toEqual([['removexattr', -EILSEQ]])
  })

  describe('utimens', () => {
    const words = (n: bigint): number[] => [Number(n & 0xffffffffn), Number(BigInt.asUintN(64, n) >> 32n)]
    const locals = (atime: bigint, mtime: bigint): Buffer => {
      const buffer = Buffer.alloc(512)
      buffer.writeBigInt64LE(atime, 104)
      buffer.writeBigInt64LE(mtime, 112)
      return buffer
    }

    it('reads the second time, which the binding replaces by the first', () => {
      request('op_utimens', ['/f', ...words(1500n), ...words(1500n)], locals(1500n, 2_000_000_000_123n))
      expect(calls).toEqual([['utimens', '/f', 1500, 2_000_000_000_123]])
    })

    it('reads times before 1970', () => {
      request('op_utimens', ['/f', ...words(-1500n), ...words(-1500n)], locals(-1500n, -7n))
      expect(calls).toEqual([['utimens', '/f', -1500, -7]])
    })

    it('fails where the binding lays its memory out in another way', () => {
      request('op_utimens', ['/f', ...words(1500n), ...words(1500n)], locals(0n, 0n))
      expect(calls).toEqual([])
      expect(answers).toEqual([['utimens', -EIO]])
    })
  })
})
