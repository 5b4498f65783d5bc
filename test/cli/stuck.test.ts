/** A lower whose filesystem ceases to answer: a mount of layerfs itself, stopped. Nothing here may touch it from this process. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { layerfs, run } from '../support/command.js'
import { scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'

let dir: string
/** The daemon that serves the lower. */
let server: number
let waiting: Promise<unknown>[]
const at = (...names: string[]): string => path.join(dir, ...names)

const daemonOf = (mountpoint: string): number => {
  const { stdout } = layerfs(['list', '--json'])
  const all = JSON.parse(stdout) as { mountpoint: string; pid: number }[]
  return all.find((m) => m.mountpoint === mountpoint)?.pid ?? Number.NaN
}

beforeEach(() => {
  dir = scratch('stuck')
  waiting = []
  for (const name of ['far/far', 'near/near', 'upper', 'work', 'mnt', 'remote'])
    fs.mkdirSync(at(name), { recursive: true })
  for (let i = 0; i < 20; i++) {
    fs.writeFileSync(at('far', 'far', `f${i}`), `far ${i}`)
    fs.writeFileSync(at('near', 'near', `f${i}`), `near ${i}`)
  }
  expect(layerfs(['mount', '--lower', at('far'), '--ephemeral', at('remote')])).toMatchObject({ code: 0 })
  server = daemonOf(at('remote'))
  expect(server).toBeGreaterThan(0)
  const stack = ['--lower', at('remote'), '--lower', at('near'), '--upper', at('upper'), '--work', at('work')]
  expect(layerfs(['mount', ...stack, at('mnt')])).toMatchObject({ code: 0, stderr: '' })
})
afterEach(async () => {
  process.kill(server, 'SIGCONT')
  await Promise.all(waiting)
  for (const mountpoint of [at('mnt'), at('remote')]) run('umount', ['-l', mountpoint])
  discard(dir)
})

const ask = (...words: string[]) => run(words[0] as string, words.slice(1), { timeout: 20_000 })
/** Something that does not end before the server goes on. */
const start = (...words: string[]): { child: ChildProcess; said: () => string; closed: Promise<unknown> } => {
  const child = spawn(words[0] as string, words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  // Not `exit`: what it said may not be read by then.
  const closed = once(child, 'close')
  waiting.push(closed)
  return { child, said: () => text, closed }
}

describe('a lower that does not answer', () => {
  it('holds up who asks for what is in it, and nobody else', async () => {
    expect(ask('cat', at('mnt', 'far', 'f0')).stdout).toBe('far 0')
    expect(ask('ls', at('mnt', 'near')).code).toBe(0)
    process.kill(server, 'SIGSTOP')
    const reader = start('cat', at('mnt', 'far', 'f1'))
    const writer = start(
      'sh',
      '-c',
      `echo more >> ${at('mnt', 'far', 'f2')} && cat ${at('mnt', 'far', 'f2')}`,
    )
    await sleep(300)
    expect(ask('cat', at('mnt', 'near', 'f1')).stdout).toBe('near 1')
    expect(ask('sh', '-c', `echo more >> ${at('mnt', 'near', 'f2')}`).code).toBe(0)
    expect(ask('cat', at('mnt', 'near', 'f2')).stdout).toBe('near 2more\n')
    expect(ask('stat', at('mnt', 'near', 'absent')).code).toBe(1)
    expect(ask('mv', at('mnt', 'near', 'f3'), at('mnt', 'near', 'g3')).code).toBe(0)
    expect(ask('getfattr', '-n', 'layerfs.status', at('mnt')).code).toBe(0)
    expect([reader.child.exitCode, writer.child.exitCode]).toEqual([null, null])
    process.kill(server, 'SIGCONT')
    await Promise.all([reader.closed, writer.closed])
    expect([reader.said(), writer.said()]).toEqual(['far 1', 'far 2more\n'])
  })

  it('is unmounted lazily, and the daemon ends with its last user', async () => {
    const daemon = daemonOf(at('mnt'))
    process.kill(server, 'SIGSTOP')
    const reader = start('cat', at('mnt', 'far', 'f1'))
    await sleep(300)
    expect(ask('umount', '-l', at('mnt')).code).toBe(0)
    process.kill(server, 'SIGCONT')
    await reader.closed
    expect(reader.said()).toBe('far 1')
    for (let i = 0; i < 1000 && fs.existsSync(`/proc/${daemon}/exe`); i++) await sleep(10)
    expect(fs.existsSync(`/proc/${daemon}/exe`)).toBe(false)
  })
})
