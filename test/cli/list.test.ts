/** Commands that ask all mounts, beside one that does not answer. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { layerfs } from '../support/command.js'
import { type Directories, directories } from '../support/stack.js'

interface Listed {
  mountpoint: string
  state: string
  pid?: number
}

let d: Directories
let stopped: number
beforeEach(() => {
  d = directories()
  expect(layerfs(['mount', '--lower', d.base, '--ephemeral', d.mnt]).code).toBe(0)
  stopped = mine()?.pid ?? Number.NaN
  process.kill(stopped, 'SIGSTOP')
})
afterEach(() => {
  process.kill(stopped, 'SIGCONT')
  d.discard()
})

const mine = (): Listed | undefined =>
  (JSON.parse(layerfs(['list', '--json']).stdout) as Listed[]).find((m) => m.mountpoint === d.mnt)

describe('a mount whose daemon is stopped', () => {
  test('is listed as one that does not answer, and the others as ever', () => {
    expect(mine()).toMatchObject({ state: 'silent' })
    expect(mine()?.pid).toBeUndefined()
    process.kill(stopped, 'SIGCONT')
    expect(mine()).toMatchObject({ state: 'live', pid: stopped })
  })

  test('is not taken for a dead one', () => {
    const { code, stdout, stderr } = layerfs(['umount', '--stale', d.mnt])
    expect({ code, stdout, stderr }).toEqual({
      code: 12,
      stdout: '',
      stderr: `layerfs: ${d.mnt} is alive: unmount it without --stale\n`,
    })
    expect(mine()).toMatchObject({ state: 'silent' })
  })
})
