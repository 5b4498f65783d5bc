import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BIN, layerfs, run } from '../support/command.js'
import { mountsBelow } from '../support/mounts.js'
import { type Directories, directories, isRunning, until } from '../support/stack.js'

let d: Directories
beforeEach(() => {
  d = directories()
  const stack = ['--lower', d.top, '--lower', d.base, '--upper', d.upper, '--work', d.work]
  expect(layerfs(['mount', ...stack, d.mnt])).toEqual({ code: 0, stdout: '', stderr: '' })
})
afterEach(() => d.discard())

const isMounted = () => mountsBelow(d.dir).includes(d.mnt)
const json = (...words: string[]): unknown => JSON.parse(layerfs([...words, '--json']).stdout)

interface Listed {
  mountpoint: string
  state: string
  pid: number
  started: number
}
const listed = (): Listed[] => (json('list') as Listed[]).filter((m) => m.mountpoint === d.mnt)

async function crash(): Promise<void> {
  const pid = listed()[0]?.pid ?? Number.NaN
  process.kill(pid, 'SIGKILL')
  await until('the daemon is dead', () => !isRunning(pid))
}

describe('list', () => {
  test('stack, transport and why, pid, age', () => {
    const before = Date.now()
    const [m] = listed()
    expect(m).toMatchObject({
      state: 'live',
      type: 'fuse.layerfs',
      transport: 'kernel',
      readOnly: false,
      lower: [d.top, d.base],
      upper: d.upper,
    })
    expect((m as unknown as { why: string }).why).not.toBe('')
    expect(isRunning(m?.pid ?? 0)).toBe(true)
    expect(m?.started).toBeLessThanOrEqual(before)
    const { stdout } = layerfs(['list'])
    expect(stdout).toMatch(/^MOUNTPOINT +STATE +TRANSPORT +PID +AGE +STACK\n/)
    const line = stdout.split('\n').find((l) => l.startsWith(`${d.mnt} `))
    expect(line).toContain(`${d.upper} (upper) : ${d.top} : ${d.base}`)
    expect(line).toMatch(/ live +kernel +\d+ +\d+[sm] /)
  })
})

describe('which', () => {
  const which = (...names: string[]) => json('which', d.at('mnt', ...names))

  test('the provider, and what is hidden beneath', () => {
    expect(which('only-base')).toMatchObject({ layer: d.base, path: 'only-base', upper: false, hidden: [] })
    expect(which('both')).toMatchObject({
      layer: d.top,
      hidden: [{ layer: d.base, path: 'both', kind: 'file' }],
    })
    fs.writeFileSync(d.at('mnt', 'both'), 'new')
    expect(which('both')).toMatchObject({ layer: d.upper, upper: true })
    expect(layerfs(['which', d.at('mnt', 'both')]).stdout).toMatch(
      new RegExp(
        `^provided by +the upper +${d.upper}/both\nhidden +file +${d.top}/both\nhidden +file +${d.base}/both\n$`,
      ),
    )
  })

  test('a directory, merged, and a whiteout beneath', () => {
    expect(which('dir')).toMatchObject({ layer: d.top, merged: [{ layer: d.base, path: 'dir' }] })
    fs.rmSync(d.at('mnt', 'dir'), { recursive: true })
    fs.mkdirSync(d.at('mnt', 'dir'))
    expect(which('dir')).toMatchObject({ layer: d.upper, merged: [] })
  })

  test('a symbolic link itself, the root, a path relative to where one stands', () => {
    fs.symlinkSync('nowhere', d.at('mnt', 'link'))
    expect(which('link')).toMatchObject({ layer: d.upper, path: 'link' })
    expect(which()).toMatchObject({ layer: d.upper, path: '' })
    for (const name of ['only-top', './only-top', 'dir/../only-top']) {
      const ran = run(process.execPath, [BIN, 'which', name], { cwd: d.mnt })
      expect(ran.stdout).toContain(`${d.top}/only-top`)
    }
  })

  test('a name that is not UTF-8', () => {
    fs.writeFileSync(Buffer.concat([Buffer.from(d.at('mnt/')), Buffer.from([0x61, 0xff])]), '')
    const ran = run('sh', ['-c', 'exec "$0" "$1" which "$(printf "a\\377")"', process.execPath, BIN], {
      cwd: d.mnt,
    })
    expect(ran.stdout).toContain(`the upper  ${d.upper}/a`)
  })

  test('what is not there', () => {
    const ran = layerfs(['which', d.at('mnt', 'none')])
    expect(ran.code).toBe(27)
    expect(ran.stderr).toContain('no such file')
  })
})

test('stats count what is done', () => {
  interface Stats {
    requests: number
    ops: Record<string, { count: number; ms: number }>
    engine: { copyUps: number; nodes: number }
  }
  const before = json('stats', d.mnt) as Stats
  fs.appendFileSync(d.at('mnt', 'only-base'), 'more')
  for (const name of ['a', 'b', 'c']) fs.mkdirSync(d.at('mnt', name))
  const after = json('stats', d.mnt) as Stats
  expect(after.requests).toBeGreaterThan(before.requests + 3)
  expect(after.ops.MKDIR?.count).toBe(3)
  expect(after.engine.copyUps).toBe(before.engine.copyUps + 1)
  const { stdout } = layerfs(['stats', d.mnt])
  expect(stdout).toMatch(/^requests +\d+$/m)
  expect(stdout).toMatch(/^MKDIR +3 +[\d.]+ +[\d.]+$/m)
  expect(stdout).toMatch(/^memory +\d+ MiB$/m)
})

describe('umount', () => {
  test('in use: refused with who uses it; --lazy detaches', async () => {
    const user = spawn('sleep', ['60'], { cwd: d.mnt, stdio: 'ignore' })
    const exited = once(user, 'exit')
    try {
      await once(user, 'spawn')
      const busy = layerfs(['umount', d.mnt])
      expect(busy.code).toBe(12)
      expect(busy.stderr).toMatch(/^layerfs: [^\n]*sleep[^\n]*\n$/)
      expect(isMounted()).toBe(true)
      expect(layerfs(['umount', '--lazy', d.mnt]).code).toBe(0)
      expect(isMounted()).toBe(false)
    } finally {
      user.kill('SIGKILL')
      await exited
    }
  })

  test('through a symbolic link', () => {
    fs.symlinkSync(d.mnt, d.at('link'))
    expect(layerfs(['umount', d.at('link')])).toMatchObject({ code: 0, stderr: '' })
    expect(isMounted()).toBe(false)
  })

  test('--stale leaves the living alone and frees the dead, by name or all', async () => {
    const alive = layerfs(['umount', '--stale', d.mnt])
    expect(alive.code).toBe(12)
    expect(alive.stderr).toContain('is alive')
    await crash()
    expect(listed()).toMatchObject([{ state: 'dead' }])
    expect(layerfs(['umount', '--stale', d.mnt])).toMatchObject({ code: 0, stderr: '' })
    expect(isMounted()).toBe(false)

    expect(layerfs(['mount', '--lower', d.base, d.mnt]).code).toBe(0)
    await crash()
    const all = run('unshare', [
      '--mount',
      '--propagation',
      'private',
      process.execPath,
      BIN,
      'umount',
      '--stale',
    ])
    expect(all).toMatchObject({ code: 0, stderr: '' })
    expect(all.stdout).toContain(`freed ${d.mnt}\n`)
  })

  test('a dead one without --stale goes too', async () => {
    await crash()
    expect(layerfs(['umount', d.mnt])).toMatchObject({ code: 0, stderr: '' })
    expect(isMounted()).toBe(false)
  })
})
