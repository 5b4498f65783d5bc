/** Debian's podman and buildah over fuse-layerfs, end to end and offline: scripts/podman, each of its modes. */
import { expect, test } from 'vitest'
import { run } from '../support/shell.js'

/** The script ends a mode by itself after 600 s, and cleans up. */
const LIMIT_MS = 700_000

const podman = (mode: string) => run(['bash', 'scripts/podman', mode], { timeoutMs: LIMIT_MS })

test.each([
  ['root', 49],
  ['rootless', 51],
  ['masked', 19],
])('%s', { timeout: LIMIT_MS + 10_000 }, async (mode, steps) => {
  const { status, output } = await podman(mode)
  expect(status, output).toBe(0)
  expect(output).toContain(`podman: ${mode}: ${steps} passed, 0 failed`)
})
