import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { scratch } from '../support/identity.js'
import { discard, mountsBelow } from '../support/mounts.js'
import { run, TOP } from '../support/shell.js'
import { makeTree } from './kit.js'

let dir: string
beforeEach(() => {
  dir = scratch('churn')
})
afterEach(() => discard(dir))

it.each([
  ['one after another', '100', '1'],
  ['ten at a time', '30', '10'],
])('mounts come and go, %s, and leave no descriptor and no thread', async (_, cycles, atOnce) => {
  const lower = makeTree(path.join(dir, 'site'))
  const churn = path.join(TOP, 'test/testing/churn.ts')
  const env = { ...process.env, TMPDIR: dir }
  const ran = await run([process.execPath, '--import', 'tsx', churn, lower, cycles, atOnce], { env })
  expect(ran.status, ran.output).toBe(0)
  const { before, after } = JSON.parse(ran.output) as Record<'before' | 'after', object>
  expect(after).toEqual(before)
  expect(mountsBelow(dir)).toEqual([])
})
