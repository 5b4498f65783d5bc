import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { run, TOP } from '../support/shell.js'

const EXAMPLES = path.join(TOP, 'examples/testing')
const VITEST = path.join(TOP, 'node_modules/vitest/vitest.mjs')

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
    const ran = await example([VITEST, 'run', '--root', EXAMPLES], { SHOW_FAILURE: '1' })
    expect(ran.output).toContain('Error: the fixture has changed otherwise than named\n')
    expect(ran.output).toContain('  - posts/third.md: named, but unchanged\n')
    expect(ran.output).toContain('  + C index.html (modified)\n')
    expect(ran.output).toContain('+<p>More</p>\n')
    expect(ran.output).toMatch(/Tests +1 failed \| 6 passed \(7\)/)
    expect(ran.status).toBe(1)
  })
})
