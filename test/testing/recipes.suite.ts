/** The recipe for cargo, which is large to install: part of `npm run test:long`. */
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { layerfs } from '../support/command.js'
import { discard } from '../support/mounts.js'
import { shell } from '../support/shell.js'
import { copyOfExamples } from './kit.js'

let dir: string
beforeAll(async () => {
  dir = copyOfExamples()
  const ready = await shell('command -v cargo || bash scripts/setup cargo', { timeoutMs: 580_000 })
  expect(ready.status, ready.output).toBe(0)
}, 600_000)
afterAll(() => discard(dir))

it('cargo: one mount for all tests, over the path that they know', { timeout: 300_000 }, () => {
  const crate = path.join(dir, 'cargo')
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(dir, 'target'), CARGO_NET_OFFLINE: 'true' }
  const words = ['run', '--over', 'tests/data', '--diff', '--', 'cargo', 'test', '--quiet']
  for (let time = 0; time < 2; time++) {
    const ran = layerfs(words, { cwd: crate, env, timeout: 140_000 })
    expect(ran.stdout).toContain('1 passed')
    expect(ran).toMatchObject({ code: 0, stderr: 'C /greeting.txt\n' })
  }
  expect(fs.readFileSync(path.join(crate, 'tests/data/greeting.txt'), 'utf8')).toBe('Moin\n')
})
