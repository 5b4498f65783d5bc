import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import type { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BIN, layerfs, type Ran, run } from '../support/command.js'
import { mountsBelow } from '../support/mounts.js'
import { type Directories, directories, isRunning, until } from '../support/stack.js'

let d: Directories
beforeEach(() => {
  d = directories()
})
afterEach(() => d.discard())

const stack = () => ['--lower', d.top, '--lower', d.base, '--upper', d.upper, '--work', d.work]
const mount = (...words: string[]): Ran => layerfs(['mount', ...words, d.mnt])
const isMounted = () => mountsBelow(d.dir).includes(d.mnt)

interface Listed {
  mountpoint: string
  state: string
  pid: number
  transport: string
  why: string
  started: number
  lower: string[]
  upper: string
}
const listed = (): Listed[] =>
  (JSON.parse(layerfs(['list', '--json']).stdout) as Listed[]).filter((m) => m.mountpoint === d.mnt)
const pidOf = (): number => listed()[0]?.pid ?? Number.NaN

/** Kills the daemon as a crash would, leaving a dead mount. */
async function crash(): Promise<void> {
  const pid = pidOf()
  process.kill(pid, 'SIGKILL')
  await until('the daemon is dead', () => !isRunning(pid))
}

const read = (...names: string[]): string => fs.readFileSync(d.at(...names), 'utf8')

describe('in the background', () => {
  test('ready when the command returns, silently; gone with its daemon when umount returns', () => {
    expect(mount(...stack())).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(read('mnt', 'both')).toBe('top')
    expect(fs.readdirSync(d.at('mnt', 'dir')).sort()).toEqual(['base', 'top'])
    fs.writeFileSync(d.at('mnt', 'new'), 'written')
    const pid = pidOf()
    expect(layerfs(['umount', d.mnt])).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(isMounted()).toBe(false)
    expect(isRunning(pid)).toBe(false)
    expect(read('upper', 'new')).toBe('written')
    expect(mount(...stack()).code).toBe(0)
    expect(read('mnt', 'new')).toBe('written')
  })

  test('the daemon leads a session, stands in / and holds nothing of its caller', () => {
    const ran = run(process.execPath, [BIN, 'mount', ...stack(), d.mnt], { cwd: d.dir })
    expect(ran.code).toBe(0)
    const pid = pidOf()
    const [, , , , session] = fs
      .readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, 'x x ')
      .split(' ')
    expect(Number(session)).toBe(pid)
    expect(fs.readlinkSync(`/proc/${pid}/cwd`)).toBe('/')
    for (const fd of [0, 1, 2]) expect(fs.readlinkSync(`/proc/${pid}/fd/${fd}`)).toBe('/dev/null')
  })

  test('relative paths, and an -o string', () => {
    const ran = run(
      process.execPath,
      [BIN, 'mount', '-o', 'lowerdir=top:base,upperdir=upper,workdir=work', 'mnt'],
      {
        cwd: d.dir,
      },
    )
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(read('mnt', 'only-base')).toBe('base')
    expect(listed()[0]).toMatchObject({ lower: [d.top, d.base], upper: d.upper })
  })

  test('colons and commas in paths', () => {
    const odd = 'a:b,c\\d"e'
    fs.renameSync(d.top, d.at(odd))
    expect(mount('--lower', d.at(odd).replace(/[\\,]/g, '\\$&')).code).toBe(0)
    expect(read('mnt', 'only-top')).toBe('top')
    expect(layerfs(['umount', d.mnt]).code).toBe(0)
    expect(mount('-o', `lowerdir=${d.at(odd).replace(/[\\:,"]/g, '\\$&')}:${d.base}`).code).toBe(0)
    expect(read('mnt', 'both')).toBe('top')
  })

  test('--ready-fd tells when it is ready', () => {
    const ran = run('sh', [
      '-c',
      '"$@" 3>&1 >/dev/null | cat',
      'sh',
      process.execPath,
      BIN,
      'mount',
      ...stack(),
      '--ready-fd',
      '3',
      d.mnt,
    ])
    expect(ran.stdout).toBe('ready\n')
    expect(isMounted()).toBe(true)
  })

  test('--debug and --log', () => {
    expect(mount(...stack(), '--debug', '--log', d.at('log')).code).toBe(0)
    fs.statSync(d.at('mnt', 'only-top'))
    expect(layerfs(['umount', d.mnt]).code).toBe(0)
    const log = read('log')
    expect(log).toContain('LOOKUP')
    expect(log).toContain('only-top')
  })

  test('--ephemeral forgets', () => {
    expect(mount('--lower', d.base, '--ephemeral').code).toBe(0)
    fs.writeFileSync(d.at('mnt', 'both'), 'changed')
    expect(read('mnt', 'both')).toBe('changed')
    expect(layerfs(['umount', d.mnt]).code).toBe(0)
    expect(mount('--lower', d.base, '--ephemeral').code).toBe(0)
    expect(read('mnt', 'both')).toBe('base')
    expect(read('base', 'both')).toBe('base')
  })

  test('without an upper it is read-only, and says so in /proc/mounts', () => {
    expect(mount('--lower', d.base).code).toBe(0)
    expect(() => fs.writeFileSync(d.at('mnt', 'x'), '')).toThrow('EROFS')
    const line = fs
      .readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((l) => l.includes(` ${d.mnt} `))
    expect(line).toMatch(/^layerfs \S+ fuse\.layerfs ro,/)
  })

  test('owners shifted for the mount, and otherwise for one layer', () => {
    fs.chownSync(d.at('base', 'only-base'), 1000, 1001)
    fs.chownSync(d.at('top', 'only-top'), 7, 8)
    const ran = mount(
      '--lower',
      `${d.top},uidmap=7:70:1,gidmap=8:80:1`,
      '--lower',
      d.base,
      '--uidmap',
      '0:100000:65536',
      '--gidmap',
      '0:200000:65536',
    )
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(fs.statSync(d.at('mnt', 'only-base'))).toMatchObject({ uid: 101000, gid: 201001 })
    expect(fs.statSync(d.at('mnt', 'only-top'))).toMatchObject({ uid: 70, gid: 80 })
  })
})

describe('each failure has its code, and one line that says what to do', () => {
  function refused(ran: Ran, code: number, ...says: string[]): void {
    expect(ran.stderr).toMatch(/^layerfs: [^\n]+\n$/)
    for (const text of says) expect(ran.stderr).toContain(text)
    expect(ran.code).toBe(code)
    expect(ran.stdout).toBe('')
  }

  test('no such directory', () => {
    const none = d.at('none')
    refused(mount('--lower', none), 3, none)
    refused(mount('--lower', d.base, '--upper', none, '--work', d.work), 3, none)
    refused(mount('--lower', d.base, '--upper', d.upper, '--work', none), 3, none)
    refused(layerfs(['mount', '--lower', d.base, none]), 3, none)
    expect(isMounted()).toBe(false)
  })

  test('not a directory', () => {
    const file = d.at('base', 'both')
    refused(mount('--lower', file), 4, file)
    refused(mount('--lower', d.top, '--upper', file, '--work', d.work), 4, file)
    refused(layerfs(['mount', '--lower', d.base, file]), 4, file)
  })

  test('upper within a lower, and the other way round', () => {
    fs.mkdirSync(d.at('base', 'within'))
    refused(
      mount('--lower', d.base, '--upper', d.at('base', 'within'), '--work', d.work),
      5,
      'keep the upper outside',
    )
    refused(mount('--lower', d.base, '--upper', d.base, '--work', d.work), 5, 'keep the upper outside')
    refused(
      mount('--lower', d.at('base', 'dir'), '--upper', d.base, '--work', d.work),
      5,
      'keep the upper outside',
    )
  })

  test('workdir on another filesystem', () => {
    expect(run('mount', ['-t', 'tmpfs', 'none', d.work]).code).toBe(0)
    refused(mount(...stack()), 6, d.work, 'beside the upper')
  })

  test('upper in use by another mount', () => {
    expect(mount(...stack()).code).toBe(0)
    fs.mkdirSync(d.at('mnt2'))
    fs.mkdirSync(d.at('work2'))
    const other = ['--lower', d.base, '--upper', d.upper, '--work', d.at('work2'), d.at('mnt2')]
    refused(layerfs(['mount', ...other]), 7, d.upper, 'in use by another mount')
  })

  /** Runs the command where /dev holds null and what `make` puts there, as root without some capabilities. */
  const where = (make: string, without: string): Ran =>
    run('unshare', [
      '--mount',
      'sh',
      '-ec',
      `mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; ${make}; exec setpriv --inh-caps=-all --bounding-set=${without} "$@"`,
      'sh',
      process.execPath,
      BIN,
      'mount',
      ...stack(),
      d.mnt,
    ])

  test('/dev/fuse missing', () => {
    refused(where('true', '-net_raw'), 8, '/dev/fuse', 'modprobe fuse')
  })

  test('/dev/fuse not permitted', () => {
    const ran = where('mknod -m 0 /dev/fuse c 10 229', '-dac_override,-dac_read_search')
    refused(ran, 9, '/dev/fuse may not be opened')
  })

  test('mounting not permitted', () => {
    const ran = where('mknod -m 666 /dev/fuse c 10 229', '-sys_admin')
    refused(ran, 9, 'mounting is not permitted here')
  })

  test('mountpoint busy', () => {
    expect(mount(...stack()).code).toBe(0)
    refused(mount('--lower', d.base), 12, `layerfs umount ${d.mnt}`)
  })

  test('a dead mount, in the way and asked for anything', async () => {
    expect(mount(...stack()).code).toBe(0)
    await crash()
    refused(mount('--lower', d.base), 13, 'layerfs umount')
    refused(layerfs(['stats', d.mnt]), 13, 'layerfs umount --stale')
    refused(layerfs(['which', d.at('mnt', 'both')]), 13, 'layerfs umount --stale')
    expect(listed()).toMatchObject([{ state: 'dead' }])
  })

  test('bad map', () => {
    refused(mount('--lower', d.base, '--uidmap', '0:0:10', '--uidmap', '5:100:1'), 14, '5:100:1', 'overlap')
    refused(mount('--lower', `${d.base},gidmap=0:0`), 14, '0:0')
    refused(mount('--lower', d.base, '-o', 'uidmapping=0:4294967290:10'), 14, 'beyond the largest id')
  })

  test('an upper that was volatile when the daemon crashed', async () => {
    expect(mount(...stack(), '--volatile').code).toBe(0)
    await crash()
    expect(layerfs(['umount', '--stale', d.mnt]).code).toBe(0)
    refused(mount(...stack()), 16, 'discard the upper')
  })

  test('a volatile upper that was unmounted is fine', () => {
    expect(mount(...stack(), '--volatile').code).toBe(0)
    expect(layerfs(['umount', d.mnt]).code).toBe(0)
    expect(mount(...stack()).code).toBe(0)
  })

  test('the workdir is the upper', () => {
    refused(mount('--lower', d.base, '--upper', d.upper, '--work', d.upper), 23, d.upper)
  })

  test('a log that cannot be written', () => {
    refused(mount(...stack(), '--log', d.at('none', 'log')), 21, d.at('none', 'log'))
  })
})

describe('signals', () => {
  test('--foreground: ready on the descriptor, SIGTERM unmounts with all written, exit code 0', async () => {
    const child = spawn(
      process.execPath,
      [BIN, 'mount', ...stack(), '--foreground', '--ready-fd', '3', d.mnt],
      {
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      },
    )
    const exited = once(child, 'exit')
    expect(String((await once(child.stdio[3] as Readable, 'data'))[0])).toBe('ready\n')
    fs.writeFileSync(d.at('mnt', 'new'), 'x'.repeat(1_000_000))
    child.kill('SIGTERM')
    expect(await exited).toEqual([0, null])
    expect(isMounted()).toBe(false)
    expect(read('upper', 'new').length).toBe(1_000_000)
  })

  test.each(['SIGTERM', 'SIGINT'] as const)('%s to the daemon', async (signal) => {
    expect(mount(...stack()).code).toBe(0)
    fs.writeFileSync(d.at('mnt', 'new'), 'written')
    const pid = pidOf()
    process.kill(pid, signal)
    await until('the daemon has ended', () => !isRunning(pid))
    expect(isMounted()).toBe(false)
    expect(read('upper', 'new')).toBe('written')
  })

  test('a mount in use stays at the first signal; the second detaches it', async () => {
    expect(mount(...stack(), '--log', d.at('log')).code).toBe(0)
    const pid = pidOf()
    const user = spawn('sleep', ['60'], { cwd: d.mnt, stdio: 'ignore' })
    try {
      await once(user, 'spawn')
      process.kill(pid, 'SIGTERM')
      await until('the refusal is logged', () => read('log').includes('in use'))
      expect(read('log')).toContain('sleep')
      expect(isMounted()).toBe(true)
      process.kill(pid, 'SIGTERM')
      await until('the mount is detached', () => !isMounted())
      expect(isRunning(pid)).toBe(true)
    } finally {
      user.kill('SIGKILL')
    }
    await until('the daemon has ended', () => !isRunning(pid))
  })
})
