/** Runners that are no dependency of this project, installed for the occasion: `npm run test:long`. */
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { run, TOP } from '../support/shell.js'

let dir: string
const installed = { timeout: 400_000 }

/** A project with a runner, the example, and this checkout as its package. */
beforeAll(async () => {
  dir = scratch('runners')
  fs.cpSync(path.join(TOP, 'examples/testing'), dir, { recursive: true })
  fs.writeFileSync(path.join(dir, 'package.json'), '{ "private": true, "type": "module" }\n')
  const words = ['install', '--no-audit', '--no-fund', '--ignore-scripts', 'mocha', 'jest']
  const ran = await run(['npm', ...words], { cwd: dir, timeoutMs: 300_000 })
  expect(ran.status, ran.output).toBe(0)
  fs.symlinkSync(TOP, path.join(dir, 'node_modules/layerfs'))
}, 400_000)
afterAll(() => discard(dir))

describe('a real run of', installed, () => {
  it('mocha', async () => {
    const ran = await run([process.execPath, 'node_modules/mocha/bin/mocha.js', 'mocha.test.mjs'], {
      cwd: dir,
    })
    expect(ran.output).toContain('2 passing')
    expect(ran.status, ran.output).toBe(0)
  })

  it('jest', async () => {
    const config = JSON.stringify({
      testMatch: ['**/jest.test.mjs'],
      transform: {},
      haste: { enableSymlinks: false },
    })
    const jest = 'node_modules/jest/bin/jest.js'
    const ran = await run([process.execPath, '--experimental-vm-modules', jest, '--config', config], {
      cwd: dir,
    })
    expect(ran.output).toContain('2 passed')
    expect(ran.status, ran.output).toBe(0)
  })
})
