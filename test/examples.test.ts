import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { scratch } from './support/identity.js'
import { discard } from './support/mounts.js'
import { type RunOptions, run, shell, TOP } from './support/shell.js'

let dir: string
beforeEach(() => {
  dir = scratch('examples')
})
afterEach(() => discard(dir))

/** npx links the checkout into npm's cache: into one of our own, whatever an interrupted run left in the user's. */
const here = (): RunOptions => ({
  env: { ...process.env, npm_config_cache: path.join(dir, 'npm') },
  timeoutMs: 100_000,
})

const README = fs.readFileSync(path.join(TOP, 'README.md'), 'utf8')

/** The README's shell blocks whose info string is `info`, with /tmp of theirs moved to the scratch directory. */
const blocks = (info: string): string[] =>
  [...README.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === info)
    .map((match) => (match[2] ?? '').replaceAll('/tmp/', `${dir}/`))

describe('README', { timeout: 120_000 }, () => {
  it('begins with a command that mounts the example layers', async () => {
    const first = blocks('sh')[0] ?? ''
    expect(first).toMatch(/^npm ci && /)
    const { status, output } = await shell(
      `${first.replace('npm ci && ', '')}\ncat ${dir}/merged/etc/app.conf\nls ${dir}/merged/etc\nnpx layerfs umount ${dir}/merged`,
      here(),
    )
    expect(output).toContain('greeting=Moin\napp.conf\n')
    expect(status).toBe(0)
  })

  it('has for its second command the one that CI runs', () => {
    expect(blocks('sh')[1]).toBe('npm ci && npm test\n')
  })

  it('has a tour whose commands do what it says', async () => {
    fs.mkdirSync(path.join(dir, 'merged'))
    const { status, output } = await shell(blocks('sh tour').join('\n'), here())
    expect(output).toContain('count\ngreet\nMoin, world\napp.conf\nAhoi, world\ngreeting=Moin\n')
    expect(output).toMatch(/^c.* 0, +0 .*legacy\.conf$/m)
    expect(output).toMatch(/^100000:100000 .*greet$/m)
    expect(output).toContain(`${dir}/upper`)
    expect(status, output).toBe(0)
  })
})

describe('examples', { timeout: 120_000 }, () => {
  it('idshift.sh shows one template under two owners', async () => {
    const { status, output } = await run(['bash', path.join(TOP, 'examples/idshift.sh'), '500'], here())
    expect(output).toMatch(/owners in one: 100001 and 100000\n/)
    expect(output).toMatch(/owners in two: 200001 and 200000\n/)
    expect(status, output).toBe(0)
  })
})
