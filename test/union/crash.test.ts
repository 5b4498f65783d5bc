import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mountOverlay, umount } from '../support/mounts.js'
import { type Stage, stage } from '../support/stage.js'
import { Client } from './client.js'
import { plant, Stack } from './stacks.js'

const OLD = 'old '.repeat(40_000)
const NEW = 'new '.repeat(10_000)
const KILLS = 6

let staged: Stage
let program: string
let stack: Stack
beforeAll(async () => {
  staged = stage()
  program = await staged.program(path.join(import.meta.dirname, 'crasher.ts'))
  stack = new Stack(1)
  for (let k = 0; k < 12; k++)
    plant(stack.lower, {
      [`file${k}`]: OLD,
      [`dir${k}`]: { inside: `inside ${k}`, sub: { deep: 'deep' } },
      [`gone${k}`]: {},
    })
  fs.renameSync(stack.lower, path.join(stack.dir, 'lower'))
  stack.lowers[0] = path.join(stack.dir, 'lower')
})
afterAll(() => {
  stack?.remove()
  staged?.remove()
})

/** Every file is old or new, and every directory is at one of its two names, whole. */
function verify(read: (name: string) => string, list: (name: string) => string[]): void {
  const names = new Set(list(''))
  for (let k = 0; k < 12; k++) {
    expect([OLD, NEW]).toContain(read(`file${k}`))
    const at = [`dir${k}`, `moved${k}`].filter((name) => names.has(name))
    expect(at).toHaveLength(1)
    expect(list(at[0] as string)).toEqual(['inside', 'sub'])
    expect(read(`${at[0]}/inside`)).toBe(`inside ${k}`)
    expect(read(`${at[0]}/sub/deep`)).toBe('deep')
    if (names.has(`gone${k}`)) expect(list(`gone${k}`)).toEqual([])
  }
  for (const name of names) if (name.startsWith('link')) expect([OLD, NEW]).toContain(read(name))
}

describe('a daemon that is killed', () => {
  it(`at any moment leaves an upper where all is old or new (${KILLS} times)`, async () => {
    const lower = path.join(stack.dir, 'lower')
    const { upper, work } = stack
    const mountpoint = path.join(stack.dir, 'mnt')
    fs.mkdirSync(mountpoint)
    for (let n = 0; n < KILLS; n++) {
      const child = spawn(staged.node, [program, stack.dir, String(n)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exited = once(child, 'exit')
      const [first] = (await Promise.race([once(child.stdout, 'data'), exited])) as [unknown]
      expect(String(first)).toBe('ready\n')
      await setTimeout(20 + 37 * n)
      child.kill('SIGKILL')
      expect((await exited)[1]).toBe('SIGKILL')
      const c = new Client({ lower: [lower], upper, work })
      expect(fs.readdirSync(path.join(work, 'work'))).toEqual([])
      verify(
        (name) => c.text(name),
        (name) => c.list(name),
      )
      c.close()
      mountOverlay({ lower: [lower], upper, work, mountpoint }, ['redirect_dir=on'])
      try {
        verify(
          (name) => fs.readFileSync(path.join(mountpoint, name), 'latin1'),
          (name) => fs.readdirSync(path.join(mountpoint, name)).sort(),
        )
      } finally {
        umount(mountpoint)
      }
    }
  })
})
