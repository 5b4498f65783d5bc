/** Ten thousand mounts, and fifty at once, in one process: part of `npm run test:long`. */
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { scratch } from '../support/identity.js'
import { discard, mountsBelow } from '../support/mounts.js'
import { run, TOP } from '../support/shell.js'
import { makeTree } from './kit.js'

interface Churned {
  before: { fds: number; threads: number }
  after: { fds: number; threads: number }
  memoryMiB: [number, number]
}

let dir: string
beforeEach(() => {
  dir = scratch('churn')
})
afterEach(() => discard(dir))

const bound = { timeout: 1_800_000 }

it.each([
  ['10000', '1'],
  ['100', '50'],
])(
  '%s mounts, %s at a time, leave no descriptor, no thread, and no memory',
  bound,
  async (cycles, atOnce) => {
    const lower = makeTree(path.join(dir, 'site'))
    const churn = path.join(TOP, 'test/testing/churn.ts')
    const words = [process.execPath, '--import', 'tsx', churn, lower, cycles, atOnce]
    const ran = await run(words, { env: { ...process.env, TMPDIR: dir }, timeoutMs: 1_700_000 })
    expect(ran.status, ran.output).toBe(0)
    const { before, after, memoryMiB } = JSON.parse(ran.output.trim().split('\n').at(-1) ?? '') as Churned
    expect(after.fds).toBeLessThanOrEqual(before.fds)
    expect(after.threads).toBeLessThanOrEqual(before.threads)
    // V8 keeps what it has once needed: a leak of ten kilobytes a mount would show beyond that.
    expect(memoryMiB[1] - memoryMiB[0]).toBeLessThan(100)
    expect(mountsBelow(dir)).toEqual([])
  },
)
