/** The test runners that fixtures have faces for, each in a real run of its example. */
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { run, TOP } from '../support/shell.js'

const EXAMPLES = path.join(TOP, 'examples/testing')
const installed = (file: string): string => path.join(TOP, 'node_modules', file)

/** Without what the runner of this very test hands to its children. */
const env: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|NODE_|LAYERFS_|CI$)/.test(name)),
)

const example = (argv: readonly string[], more: NodeJS.ProcessEnv = {}) =>
  run([process.execPath, ...argv], { cwd: EXAMPLES, env: { ...env, NO_COLOR: '1', ...more } })

describe('a real run of', () => {
  it('node:test', async () => {
    const ran = await example(['--test', 'node.test.mjs'])
    expect(ran.output).toMatch(/# pass 2\n# fail 0\n/)
    expect(ran.status, ran.output).toBe(0)
  })

  it('vitest, where the one failure shows what differs', async () => {
    const vitest = installed('vitest/vitest.mjs')
    const ran = await example([vitest, 'run', '--root', EXAMPLES], { SHOW_FAILURE: '1' })
    expect(ran.output).toContain('Error: the fixture has changed otherwise than named\n')
    expect(ran.output).toContain('  - posts/third.md: named, but unchanged\n')
    expect(ran.output).toContain('  + C index.html (modified)\n')
    expect(ran.output).toContain('+<p>More</p>\n')
    expect(ran.output).toMatch(/Tests +1 failed \| 6 passed \(7\)/)
    expect(ran.status).toBe(1)
  })

  it('mocha', async () => {
    const ran = await example([installed('mocha/bin/mocha.js'), 'mocha.test.mjs'])
    expect(ran.output).toContain('2 passing')
    expect(ran.status, ran.output).toBe(0)
  })

  it('jest', async () => {
    const cache = scratch('jest')
    try {
      const jest = [installed('jest/bin/jest.js'), '--no-watchman', '--cacheDirectory', cache]
      const ran = await example(['--experimental-vm-modules', ...jest])
      expect(ran.output).toContain('Tests:       2 passed, 2 total')
      expect(ran.status, ran.output).toBe(0)
    } finally {
      discard(cache)
    }
  })
})
