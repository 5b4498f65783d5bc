/** Debian's podman and buildah over fuse-layerfs, end to end and offline: scripts/podman, each of its modes. */
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CASES } from '../conformance/cases/index.js'
import type { Job } from '../conformance/host.js'
import { exceptions } from '../conformance/subjects.js'
import { run } from '../support/shell.js'
import { type Stage, stage } from '../support/stage.js'

/** The script ends a mode by itself after 600 s, and cleans up. */
const LIMIT_MS = 700_000

const LAYOUT = 'merged'

let staged: Stage
/** The conformance cases, for a container to run: those that take no privilege, which its root lacks in part. */
beforeAll(async () => {
  staged = stage()
  for (const program of ['host', 'runner'])
    await staged.program(path.join(import.meta.dirname, `../conformance/${program}.ts`))
  const names = CASES.filter(({ needs }) => needs === undefined).map(({ name }) => name)
  const job: Job = {
    scratch: '/layerfs',
    layout: LAYOUT,
    system: 'layerfs',
    options: {},
    names,
    runner: path.join(staged.dir, 'tests/runner.js'),
    library: path.join(staged.dir, 'dist/index.js'),
  }
  fs.writeFileSync(path.join(staged.dir, 'job.json'), JSON.stringify(job))
  for (const [mode, as] of [['root', 'root'] as const, ['rootless', 'userns'] as const]) {
    const lines = [...Object.keys(exceptions(as, LAYOUT)), `${names.length} ran`]
    fs.writeFileSync(path.join(staged.dir, `expected-${mode}`), `${lines.join('\n')}\n`)
  }
})
afterAll(() => staged?.remove())

test.each([
  ['root', 50, {}],
  ['rootless', 52, {}],
  ['masked', 19, {}],
  ['root', 14, { HOST: '1', QUICK: '1' }],
  ['rootless', 14, { HOST: '1', QUICK: '1' }],
])('%s: %d steps', { timeout: LIMIT_MS + 10_000 }, async (mode, steps, more) => {
  const { status, output } = await run(['bash', 'scripts/podman', mode], {
    env: { ...process.env, SUITE: staged.dir, ...more },
    timeoutMs: LIMIT_MS,
  })
  expect(status, output).toBe(0)
  expect(output).toContain(`podman: ${mode}: ${steps} passed, 0 failed`)
})
