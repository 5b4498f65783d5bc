/** `layerfs host`: mounts that others ask for, served by one process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { waitReadable } from '../../src/sys/device.js'
import { COMMAND, type Ran, run } from '../support/command.js'
import { command, environment, type Identity, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Directories, directories, until } from '../support/stack.js'

const FUSE_LAYERFS = `${path.dirname(COMMAND)}/fuse-layerfs`
const MOUNT_FUSE = `${path.dirname(COMMAND)}/mount.fuse.layerfs`

/** Root's host has a mount namespace of its own, so that no other test asks it; a user's a runtime directory. */
class Place {
  readonly d: Directories
  readonly runtime: string
  readonly env: NodeJS.ProcessEnv
  host: ChildProcess | undefined

  constructor(readonly as: Identity) {
    this.d = directories(as)
    this.runtime = scratch('runtime', as)
    this.env = { ...environment(as), XDG_RUNTIME_DIR: this.runtime }
  }

  /** Where launchers look for hosts. */
  get calls(): string {
    return this.as === 'root' ? '/run/layerfs' : path.join(this.runtime, 'layerfs')
  }

  async start(): Promise<number> {
    const apart = this.as === 'root' ? ['unshare', '--mount', '--propagation', 'private'] : []
    const [file = '', ...words] = command(this.as, [...apart, COMMAND, 'host'])
    this.host = spawn(file, words, { env: this.env, stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(this.host.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer]
    expect(line.toString()).toContain(`(${this.host.pid})`)
    return this.host.pid as number
  }

  /** The words that run a program where the host is. */
  inside(program: readonly string[], cwd = '/'): string[] {
    const enter = this.as === 'root' ? ['nsenter', '--target', String(this.host?.pid), '--mount'] : []
    return command(this.as, [...enter, 'env', '-C', cwd, ...program])
  }

  run(program: readonly string[], cwd = '/'): Ran {
    const [file = '', ...words] = this.inside(program, cwd)
    return run(file, words, { env: this.env })
  }

  layerfs(...words: string[]): Ran {
    return this.run([COMMAND, ...words])
  }

  /** Who serves what is mounted below its directory. */
  pids(): number[] {
    const all = JSON.parse(this.layerfs('list', '--json').stdout) as { mountpoint: string; pid: number }[]
    return all.filter((m) => m.mountpoint.startsWith(this.d.dir)).map((m) => m.pid)
  }

  async end(): Promise<void> {
    const { host } = this
    if (host === undefined || host.exitCode !== null || host.signalCode !== null) return
    const exited = once(host, 'exit')
    host.kill('SIGCONT')
    host.kill('SIGTERM')
    await sleep(20)
    host.kill('SIGTERM')
    await exited
  }
}

describe.each(['root', 'plain'] as const)('a host of %s', (as) => {
  let p: Place
  beforeEach(() => {
    p = new Place(as)
  })
  afterEach(async () => {
    await p.end()
    p.d.discard()
    discard(p.runtime)
  })
  const DONE = { code: 0, stdout: '', stderr: '' }
  const stack = (): string[] => ['--lower', p.d.base, '--upper', p.d.upper, '--work', p.d.work, p.d.mnt]

  test('serves what layerfs and fuse-layerfs mount, and goes on when it is unmounted', async () => {
    const pid = await p.start()
    p.run(['mkdir', p.d.at('second')])
    expect(p.layerfs('mount', ...stack())).toEqual(DONE)
    // Paths are those of who asks.
    const words = ['-o', 'lowerdir=top:base', 'second']
    expect(p.run([FUSE_LAYERFS, ...words], p.d.dir)).toEqual(DONE)
    expect(p.pids()).toEqual([pid, pid])
    expect(p.run(['cat', p.d.at('mnt/only-base'), p.d.at('second/both')]).stdout).toBe('basetop')
    expect(p.run(['cp', p.d.at('mnt/both'), p.d.at('mnt/new')])).toEqual(DONE)
    expect(p.layerfs('umount', p.d.mnt)).toEqual(DONE)
    expect(p.pids()).toEqual([pid])
    expect(fs.readFileSync(p.d.at('upper/new'), 'utf8')).toBe('base')
    for (let i = 0; i < 8; i++) {
      expect(p.layerfs('mount', ...stack())).toEqual(DONE)
      expect(p.run(['cat', p.d.at('mnt/new')]).stdout).toBe('base')
      expect(p.layerfs('umount', p.d.mnt)).toEqual(DONE)
    }
    expect(p.layerfs('umount', p.d.at('second'))).toEqual(DONE)
    expect(fs.readdirSync(p.calls).filter((name) => name.startsWith('call-'))).toEqual([])
  })

  test('serves what mount(8) and mount.fuse3(8) ask for, and leaves a remount to them', async () => {
    const pid = await p.start()
    p.run(['mkdir', p.d.at('second')])
    expect(p.run([MOUNT_FUSE, 'none', p.d.mnt, '-o', `noauto,lowerdir=${p.d.base}`])).toEqual(DONE)
    expect(p.layerfs('overlay', p.d.at('second'), '-o', `lowerdir=${p.d.top}`)).toEqual(DONE)
    expect(p.pids()).toEqual([pid, pid])
    expect(p.run([MOUNT_FUSE, '-f', 'none', p.d.mnt, '-o', `lowerdir=${p.d.base}`])).toEqual(DONE)
    expect(p.pids()).toEqual([pid, pid])
    if (as === 'root') expect(p.run([MOUNT_FUSE, 'none', p.d.mnt, '-o', 'remount,noexec'])).toEqual(DONE)
    for (const mnt of [p.d.mnt, p.d.at('second')]) expect(p.layerfs('umount', mnt)).toEqual(DONE)
  })

  test('tells what is wrong as a process of its own does, and what is ignored', async () => {
    const WRONG = [
      [COMMAND, 'mount', '--lower', '/nowhere', p.d.mnt],
      [COMMAND, 'mount', '--lover', p.d.base, p.d.mnt],
      [COMMAND, 'mount', '--lower', p.d.base, '--upper', p.d.base, '--work', p.d.work, p.d.mnt],
      [FUSE_LAYERFS, '-o', 'lowerdir=/no\nwhere', p.d.mnt],
      [FUSE_LAYERFS, '-o', `lowerdir=${p.d.base},uidmapping=1`, p.d.mnt],
      [MOUNT_FUSE, 'none', p.d.mnt, '-o', 'lowerdri=/x'],
      [MOUNT_FUSE, 'none', p.d.mnt, '-o', 'lowerdir=/nowhere'],
      [COMMAND, 'none', p.d.mnt, '-o', 'lowerdir=/nowhere'],
    ]
    const alone = WRONG.map((words) => {
      const [file = '', ...more] = command(as, words)
      return run(file, more, { env: p.env })
    })
    await p.start()
    expect(WRONG.map((words) => p.run(words))).toEqual(alone)
    expect(alone.map((ran) => ran.code)).toEqual([3, 2, 5, 1, 1, 1, 32, 3])
    expect(p.run([FUSE_LAYERFS, '-o', `lowerdir=${p.d.base},nonsense`, p.d.mnt])).toEqual({
      ...DONE,
      stderr: 'unknown argument ignored: nonsense\n',
    })
  })

  test('leaves to others what takes a process of its own', async () => {
    const pid = await p.start()
    expect(p.layerfs('mount', '--help').stdout).toContain('layerfs mount [FLAGS] MOUNTPOINT')
    const ready = ['bash', '-c', '"$@" --ready-fd 3 3>"$0"', p.d.at('ready'), COMMAND, 'mount', ...stack()]
    expect(p.run(ready)).toEqual(DONE)
    expect(fs.readFileSync(p.d.at('ready'), 'utf8')).toBe('ready\n')
    expect(p.pids()).not.toContain(pid)
    expect(p.pids().length).toBe(1)
    expect(p.layerfs('umount', p.d.mnt)).toEqual(DONE)
  })

  test('is one: a second one is refused, and follows when it has been killed', async () => {
    const pid = await p.start()
    expect(p.layerfs('host')).toMatchObject({ code: 26, stderr: expect.stringContaining(`(pid ${pid})`) })
    const first = p.host as ChildProcess
    first.kill('SIGKILL')
    await once(first, 'exit')
    const next = await p.start()
    const left = fs.readdirSync(p.calls).filter((name) => name.startsWith(`${pid}.`))
    expect(left).toEqual([])
    expect(p.layerfs('mount', ...stack())).toEqual(DONE)
    expect(p.pids()).toEqual([next])
  })

  test('at SIGTERM unmounts all; what is in use ends with its last user', async () => {
    await p.start()
    p.run(['mkdir', p.d.at('second')])
    expect(p.layerfs('mount', ...stack())).toEqual(DONE)
    expect(p.layerfs('mount', '--lower', p.d.top, p.d.at('second'))).toEqual(DONE)
    const [file = '', ...words] = p.inside(['sleep', '60'], p.d.at('second'))
    const user = spawn(file, words, { env: p.env, stdio: 'ignore' })
    await until('it is in use', () => fs.readlinkSync(`/proc/${user.pid}/cwd`) === p.d.at('second'))
    const host = p.host as ChildProcess
    const exited = once(host, 'exit')
    host.kill('SIGTERM')
    const table = () => fs.readFileSync(`/proc/${host.pid}/mounts`, 'utf8')
    await until('the other is unmounted', () => !table().includes(p.d.mnt))
    expect(table()).toContain(p.d.at('second'))
    expect(host.exitCode).toBe(null)
    host.kill('SIGTERM')
    user.kill('SIGKILL')
    expect(await exited).toEqual([0, null])
    expect(fs.readdirSync(p.calls).some((name) => name.startsWith(`${host.pid}.`))).toBe(false)
  })

  test('that ends before it has answered is told of, and no mount is left for who was killed', async () => {
    await p.start()
    const host = p.host as ChildProcess
    const ask = (): ChildProcess => {
      const [file = '', ...words] = p.inside([COMMAND, 'mount', ...stack()])
      return spawn(file, words, { env: p.env, stdio: ['ignore', 'ignore', 'pipe'] })
    }
    const called = (by: ChildProcess) => fs.existsSync(path.join(p.calls, `call-${by.pid}`))
    // Who has only written its call down finds no host where that one ends, and mounts by itself.
    const asked = () => {
      const fifo = fs.readdirSync(p.calls).find((name) => name.startsWith(`${host.pid}.`)) ?? ''
      const fd = fs.openSync(path.join(p.calls, fifo), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
      const held = waitReadable(fd, 0) > 0
      fs.closeSync(fd)
      return held
    }
    host.kill('SIGSTOP')
    const killed = ask()
    await until('it has asked', asked)
    killed.kill('SIGKILL')
    await once(killed, 'exit')
    host.kill('SIGCONT')
    await until('its call is taken', () => !called(killed))
    const table = () => fs.readFileSync(`/proc/${host.pid}/mounts`, 'utf8')
    await until('nothing is mounted', () => !table().includes(p.d.mnt))

    host.kill('SIGSTOP')
    const waiting = ask()
    let said = ''
    waiting.stderr?.on('data', (text) => {
      said += text
    })
    await until('it has asked', asked)
    const gone = once(host, 'exit')
    host.kill('SIGKILL')
    await gone
    expect(await once(waiting, 'exit')).toEqual([25, null])
    expect(said).toMatch(/^layerfs: the host \(\/proc\/\d+\) ended/)
  })
})

describe('who is not the host’s', () => {
  test('has processes of its own: in another mount namespace, and another user', async () => {
    const p = new Place('root')
    try {
      const pid = await p.start()
      const words = ['mount', '--lower', p.d.base, p.d.mnt]
      const elsewhere = run('unshare', [
        '--mount',
        'sh',
        '-c',
        '"$@" && cat "$0" && "$1" list --json',
        p.d.at('mnt/both'),
        COMMAND,
        ...words,
      ])
      expect(elsewhere.stdout.startsWith('base')).toBe(true)
      const [listed] = (
        JSON.parse(elsewhere.stdout.slice(4)) as { mountpoint: string; pid: number }[]
      ).filter((m) => m.mountpoint === p.d.mnt)
      expect(listed?.pid).not.toBe(pid)
    } finally {
      await p.end()
      p.d.discard()
      discard(p.runtime)
    }
  })

  test('is refused a directory that others may enter', () => {
    const p = new Place('plain')
    fs.mkdirSync(p.calls, { mode: 0o700 })
    run('chown', ['--reference', p.runtime, p.calls])
    fs.chmodSync(p.calls, 0o755)
    expect(p.layerfs('host')).toMatchObject({ code: 22, stderr: expect.stringContaining('chmod 700') })
    delete p.env.XDG_RUNTIME_DIR
    expect(p.layerfs('host')).toMatchObject({ code: 17, stderr: expect.stringContaining('XDG_RUNTIME_DIR') })
    p.d.discard()
    discard(p.runtime)
  })
})
