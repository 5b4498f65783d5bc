import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

/** Runs `compileSoon` in a process of its own, since it is for a whole process. */
const script = `
  const { compileSoon } = await import('./src/cli/tiering.ts')
  compileSoon()
`

describe('compileSoon', () => {
  it('sets only flags that this version of V8 knows', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', script],
      { encoding: 'utf8' },
    )
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })
})
