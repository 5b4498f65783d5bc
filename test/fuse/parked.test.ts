/** Requests whose work a helper thread does: parked, run again, answered in the end; nothing else waits for them. */

import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { FUSE_FSYNC, FUSE_GETATTR } from '../../src/abi/fuse.js'
import { EIO } from '../../src/abi/linux.js'
import { HelperThreads } from '../../src/fuse/helpers.js'
import { waitReadable } from '../../src/sys/device.js'
import { affinity, bindToProcessor, setAffinity } from '../../src/sys/thread.js'
import { type Job, PARKED, type Result } from '../../src/vfs.js'
import { MemFs } from '../support/memfs.js'
import { Bench, parse, request } from './wire.js'

/** The built entry: a thread cannot load TypeScript. */
const ENTRY = new URL('../../dist/bundle/helper.cjs', import.meta.url)

/** A filesystem whose fsync is parked until told. */
class Slow extends MemFs {
  answers: Result[] = []

  override fsync(): Result {
    return this.answers.shift() ?? 0
  }
}

describe('a session', () => {
  const fsync = (unique: number): Buffer => {
    const bytes = request(FUSE_FSYNC, 1, [Buffer.alloc(16)])
    bytes.writeBigUInt64LE(BigInt(unique), 8)
    return bytes
  }

  it('answers others while a request is parked, and that one when its job has ended', () => {
    const fs = new Slow()
    fs.answers = [PARKED, 0]
    const bench = new Bench({ helpers: new HelperThreads(ENTRY, () => false) }, fs)
    bench.init()
    const getattr = request(FUSE_GETATTR, 1, [Buffer.alloc(16)])
    getattr.writeBigUInt64LE(8n, 8)
    bench.kernel.queue.push(fsync(7), getattr)
    bench.session.run()
    expect(bench.kernel.sent.map((r) => parse(r).unique)).toEqual([8n])
    bench.kernel.ended = 1
    bench.session.run()
    expect(bench.kernel.sent.map((r) => parse(r).unique)).toEqual([8n, 7n])
  })

  it('parks a request again while its job goes on, and keeps their order', () => {
    const fs = new Slow()
    fs.answers = [PARKED, PARKED, PARKED, PARKED, 0, -EIO]
    const bench = new Bench({ helpers: new HelperThreads(ENTRY, () => false) }, fs)
    bench.init()
    bench.kernel.queue.push(fsync(1), fsync(2))
    bench.session.run()
    bench.kernel.ended = 1
    bench.session.run()
    expect(bench.kernel.sent).toEqual([])
    bench.kernel.ended = 1
    bench.session.run()
    expect(bench.kernel.sent.map((r) => [parse(r).unique, parse(r).error])).toEqual([
      [1n, 0],
      [2n, -EIO],
    ])
  })
})

describe('helper threads', () => {
  const dir = mkdtempSync(join(tmpdir(), 'layerfs-helpers-'))
  afterAll(() => rmSync(dir, { recursive: true }))

  const run = (helpers: HelperThreads, job: Job): Result => {
    const id = helpers.start(job)
    expect(id).toBeGreaterThanOrEqual(0)
    for (;;) {
      const r = helpers.take(id)
      if (r !== PARKED) return r
      expect(waitReadable(helpers.event, 20_000)).toBe(1)
      helpers.drain()
    }
  }

  it('copy and sync files while the thread that asked is blocked', () => {
    const helpers = new HelperThreads(ENTRY, () => false)
    const data = Buffer.alloc(3_000_000, 'layerfs')
    writeFileSync(join(dir, 'from'), data)
    const from = openSync(join(dir, 'from'), 'r')
    const to = openSync(join(dir, 'to'), 'wx')
    expect(
      run(helpers, { kind: 'copy', from, to, size: data.length, dense: true, done: 0, sync: true }),
    ).toBe(0)
    expect(run(helpers, { kind: 'sync', fd: to, dataOnly: false })).toBe(0)
    expect(readFileSync(join(dir, 'to')).equals(data)).toBe(true)
    closeSync(from)
    closeSync(to)
    expect(statSync(join(dir, 'to')).size).toBe(data.length)
  })

  it('run on every processor, though the thread that asked has bound itself to one', () => {
    const allowed = (): string[] =>
      readdirSync('/proc/self/task').map(
        (tid) =>
          /^Cpus_allowed:\s*(\S+)$/m.exec(readFileSync(`/proc/self/task/${tid}/status`, 'latin1'))?.[1] ?? '',
      )
    const before = affinity()
    const all = allowed()
    const helpers = new HelperThreads(ENTRY, () => false)
    expect(bindToProcessor(0)).toBe(0)
    try {
      expect(run(helpers, { kind: 'sync', fd: 99_999, dataOnly: true })).toBeLessThan(0)
      // This thread is bound; the helper makes up for it.
      expect(allowed().filter((mask) => mask === all[0]).length).toBeGreaterThanOrEqual(all.length)
    } finally {
      setAffinity(before)
    }
  })

  it('tell the errno of a job that fails', () => {
    const helpers = new HelperThreads(ENTRY, () => false)
    expect(run(helpers, { kind: 'sync', fd: 99_999, dataOnly: true })).toBeLessThan(0)
  })

  it('take no more jobs than they have places for', () => {
    const helpers = new HelperThreads(ENTRY, () => false)
    const ids: number[] = []
    for (let i = 0; i < 64; i++) ids.push(helpers.start({ kind: 'sync', fd: 99_999, dataOnly: true }))
    expect(new Set(ids).size).toBe(64)
    expect(helpers.start({ kind: 'sync', fd: 99_999, dataOnly: true })).toBeLessThan(0)
  })
})
