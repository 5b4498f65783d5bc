import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { scratch } from '../support/identity.js'
import { discard, mountsBelow } from '../support/mounts.js'
import { run, TOP } from '../support/shell.js'
import { makeTree } from './kit.js'

interface Left {
  fds: number
  threads: number
}

let dir: string
beforeEach(() => {
  dir = scratch('churn')
})
afterEach(() => discard(dir))

it.each([
  ['one after another', '100', '1'],
  ['ten at a time', '20', '10'],
])('mounts come and go, %s, and leave no descriptor and no thread', async (_, cycles, atOnce) => {
  const lower = makeTree(path.join(dir, 'site'))
  const churn = path.join(TOP, 'test/testing/churn.ts')
  const env = { ...process.env, TMPDIR: dir }
  const ran = await run([process.execPath, '--import', 'tsx', churn, lower, cycles, atOnce], { env })
  expect(ran.status, ran.output).toBe(0)
  const { before, after } = JSON.parse(ran.output) as Record<'before' | 'after', Left>
  // Fewer are no leak: a thread that is kept for the next mount ends when none comes.
  expect(after.fds).toBeLessThanOrEqual(before.fds)
  expect(after.threads).toBeLessThanOrEqual(before.threads)
  expect(mountsBelow(dir)).toEqual([])
})
