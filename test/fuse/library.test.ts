import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { LayerfsError, Mount, MountInput } from '../../src/index.js'
import { scratch } from '../support/identity.js'
import { LIBRARY, library, stackIn } from '../support/library.js'
import { discard, mountsBelow, umount } from '../support/mounts.js'

const { mount } = await library()

let base: string
let mounted: Mount[]
beforeEach(() => {
  base = scratch('library')
  for (const name of ['lower', 'upper', 'work', 'mnt', 'mnt2']) fs.mkdirSync(path.join(base, name))
  fs.writeFileSync(at('lower', 'file'), 'lower')
  mounted = []
})
afterEach(async () => {
  for (const m of mounted) await m.unmount({ lazy: true }).catch(() => {})
  discard(base)
})

const at = (...names: string[]) => path.join(base, ...names)
const stack = (more: Partial<MountInput> = {}): MountInput => ({ ...stackIn(base), ...more })
async function open(more: Partial<MountInput> = {}): Promise<Mount> {
  const m = await mount(stack(more))
  mounted.push(m)
  return m
}
const failure = async (promise: Promise<unknown>): Promise<LayerfsError> => {
  try {
    await promise
  } catch (error) {
    return error as LayerfsError
  }
  throw new Error('it did not fail')
}

describe('a mount in this process', () => {
  it('serves synchronous calls of this very thread', async () => {
    const m = await open()
    expect(fs.readFileSync(at('mnt', 'file'), 'utf8')).toBe('lower')
    fs.writeFileSync(at('mnt', 'file'), 'changed')
    fs.mkdirSync(at('mnt', 'd'))
    expect(fs.readdirSync(at('mnt')).sort()).toEqual(['d', 'file'])
    expect(fs.readFileSync(at('lower', 'file'), 'utf8')).toBe('lower')
    expect(fs.readFileSync(at('upper', 'file'), 'utf8')).toBe('changed')
    await m.unmount()
    expect(mountsBelow(base)).toEqual([])
    expect(fs.readdirSync(at('mnt'))).toEqual([])
    await m.closed
    await m.unmount()
  })

  it('serves asynchronous calls and other processes alike', async () => {
    const m = await open()
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => fs.promises.writeFile(at('mnt', `f${i}`), String(i))),
    )
    const ran = spawnSync('cat', [at('mnt', 'f7'), at('mnt', 'file')], { encoding: 'utf8', timeout: 20_000 })
    expect(ran.stdout).toBe('7lower')
    await m.unmount()
  })

  it('tells what it is', async () => {
    const m = await open()
    expect(m).toMatchObject({ mountpoint: at('mnt'), transport: 'kernel', pid: process.pid })
    expect(m.status()).toMatchObject({
      mountpoint: at('mnt'),
      transport: 'kernel',
      why: 'asked for',
      pid: process.pid,
      readOnly: false,
      lower: [at('lower')],
      upper: at('upper'),
      work: at('work'),
      means: 'mount(2)',
    })
    fs.statSync(at('mnt', 'file'))
    expect(m.stats().ops.LOOKUP?.count).toBeGreaterThan(0)
    await m.unmount()
    expect(() => m.status()).toThrow()
  })

  it('takes the kernel transport where it may choose, and says so', async () => {
    const m = await open({ transport: 'auto' })
    expect(m.transport).toBe('kernel')
    expect(m.status().why).toBe('the first choice works here')
  })

  it('leaves the umask and the directory of the program alone', async () => {
    const before = process.umask()
    const cwd = process.cwd()
    const m = await open()
    expect(process.umask()).toBe(before)
    expect(process.cwd()).toBe(cwd)
    fs.writeFileSync(at('mnt', 'masked'), '', { mode: 0o666 })
    expect(fs.statSync(at('mnt', 'masked')).mode & 0o777).toBe(0o666 & ~before)
    await m.unmount()
  })

  it('shows its type, source and options', async () => {
    const line = (mountpoint: string) =>
      fs
        .readFileSync('/proc/mounts', 'utf8')
        .split('\n')
        .find((l) => l.includes(` ${mountpoint} `)) ?? ''
    await open({ fsname: 'a name, with \\ all', kernelOptions: ['nosuid', 'noexec'] })
    const { upper: _u, work: _w, ...readOnly } = stack()
    mounted.push(await mount({ ...readOnly, mountpoint: at('mnt2'), subtype: 'else' }))
    expect(line(at('mnt'))).toMatch(
      /^a\\040name,\\040with\\040\\134\\040all \S+ fuse\.layerfs rw,nosuid,noexec/,
    )
    expect(line(at('mnt'))).toContain('default_permissions,allow_other')
    expect(line(at('mnt2'))).toMatch(/^layerfs \S+ fuse\.else ro/)
    expect(() => fs.writeFileSync(at('mnt2', 'x'), '')).toThrow(/EROFS/)
  })

  it('takes paths relative to where the program is, though its thread has served elsewhere', async () => {
    await (await open()).unmount()
    const before = process.cwd()
    process.chdir(base)
    try {
      const m = await mount({ lower: ['lower'], upper: 'upper', work: 'work', mountpoint: 'mnt' })
      mounted.push(m)
      expect(m.status()).toMatchObject({ mountpoint: at('mnt'), lower: [at('lower')], upper: at('upper') })
      await m.unmount()
    } finally {
      process.chdir(before)
    }
  })

  it('mounts several at once, and again after unmounting', async () => {
    const one = await open()
    const { upper: _u, work: _w, ...rest } = stack()
    const two = await mount({ ...rest, mountpoint: at('mnt2'), ephemeral: true })
    mounted.push(two)
    fs.writeFileSync(at('mnt', 'x'), '1')
    fs.writeFileSync(at('mnt2', 'x'), '2')
    expect(fs.readFileSync(at('mnt', 'x'), 'utf8')).toBe('1')
    await one.unmount()
    expect(fs.readFileSync(at('mnt2', 'x'), 'utf8')).toBe('2')
    const again = await open()
    expect(fs.readFileSync(at('mnt', 'x'), 'utf8')).toBe('1')
    await again.unmount()
    await two.unmount()
  })
})

describe('unmounting', () => {
  it('refuses while in use, naming who uses it, and detaches lazily', async () => {
    const m = await open()
    const fd = fs.openSync(at('mnt', 'file'), 'r')
    const error = await failure(m.unmount())
    expect(error.code).toBe('MOUNTPOINT_BUSY')
    expect(error.message).toContain(`(pid ${process.pid}: ${at('mnt', 'file')})`)
    await m.unmount({ lazy: true })
    expect(fs.readdirSync(at('mnt'))).toEqual([])
    const data = Buffer.alloc(5)
    fs.readSync(fd, data, 0, 5, 0)
    expect(data.toString()).toBe('lower')
    fs.closeSync(fd)
    await m.closed
  })

  it('names a mount that lies within', async () => {
    const m = await open()
    fs.mkdirSync(at('mnt', 'inner'))
    const { upper: _u, work: _w, ...rest } = stack()
    const inner = await mount({ ...rest, mountpoint: at('mnt', 'inner') })
    mounted.unshift(inner)
    expect((await failure(m.unmount())).message).toContain(`a mount on ${at('mnt', 'inner')}`)
    await inner.unmount()
    await m.unmount()
  })

  it('notices that somebody else unmounted', async () => {
    const m = await open()
    umount(at('mnt'))
    await m.closed
    await m.unmount()
  })

  it('does not take away what was mounted over it', async () => {
    const m = await open()
    expect(spawnSync('mount', ['-t', 'tmpfs', 'over', at('mnt')], { timeout: 20_000 }).status).toBe(0)
    const error = await failure(m.unmount())
    expect(error.code).toBe('MOUNTPOINT_BUSY')
    expect(error.message).toContain('another tmpfs mounted over it')
    umount(at('mnt'))
    await m.unmount()
  })

  it('comes with `await using`', async () => {
    const m = await open()
    await m[Symbol.asyncDispose]()
    expect(mountsBelow(base)).toEqual([])
  })

  it('removes what was written to an ephemeral upper', async () => {
    const { upper: _u, work: _w, ...rest } = stack({ ephemeral: true })
    vi.stubEnv('TMPDIR', at('upper'))
    const m = await mount(rest)
    mounted.push(m)
    vi.unstubAllEnvs()
    fs.writeFileSync(at('mnt', 'file'), 'gone soon')
    expect(fs.readdirSync(at('upper')).length).toBe(1)
    await m.unmount()
    expect(fs.readdirSync(at('upper'))).toEqual([])
    expect(fs.readFileSync(at('lower', 'file'), 'utf8')).toBe('lower')
  })
})

describe('what cannot be mounted', () => {
  it.each([
    ['a mountpoint that is not there', 'NO_SUCH_DIRECTORY', () => ({ mountpoint: at('nowhere') })],
    ['a file as mountpoint', 'NOT_A_DIRECTORY', () => ({ mountpoint: at('lower', 'file') })],
    ['a layer that is not there', 'NO_SUCH_DIRECTORY', () => ({ lower: [at('nothing')] })],
    ['an option that the kernel does not know', 'MOUNT_FAILED', () => ({ kernelOptions: ['nonsense'] })],
  ])('says so of %s, and leaves nothing behind', async (_what, code, more) => {
    const error = await failure(mount(stack(more())))
    expect(error.name).toBe('LayerfsError')
    expect(error.code).toBe(code)
    expect(error.message).not.toContain('\n')
    expect(mountsBelow(base)).toEqual([])
    await (await open()).unmount()
  })

  it('says so of a mountpoint with a mount of ours on it', async () => {
    await open()
    const { upper: _u, work: _w, ...rest } = stack()
    expect((await failure(mount(rest))).code).toBe('MOUNTPOINT_BUSY')
  })
})

/** A program that mounts and then does what it is told to. */
function program(then: string) {
  const code = `
    const { mount } = await import(${JSON.stringify(LIBRARY)})
    const fs = await import('node:fs')
    const m = await mount(${JSON.stringify(stack())})
    fs.writeFileSync(${JSON.stringify(at('mnt', 'written'))}, 'data')
    fs.writeSync(1, 'ready')
    ${then}`
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'pipe'] })
}

describe('a program that ends while its mount is up', () => {
  it.each([
    ['process.exit', 'process.exit(3)', 3],
    ['an exception', "throw new Error('on purpose')", 1],
  ])('takes the mount along and keeps its exit code: %s', async (_what, then, code) => {
    const child = program(then)
    const [status] = (await once(child, 'exit')) as [number | null]
    expect(status).toBe(code)
    expect(mountsBelow(base)).toEqual([])
    expect(fs.readFileSync(at('upper', 'written'), 'utf8')).toBe('data')
  })

  it('does so though a file is open on it', async () => {
    const child = program(`fs.openSync(${JSON.stringify(at('mnt', 'file'))}); process.exit(4)`)
    const [status] = (await once(child, 'exit')) as [number | null]
    expect(status).toBe(4)
    expect(mountsBelow(base)).toEqual([])
  })

  it('leaves a dead mount when it is killed, which is told, and cleared lazily', async () => {
    const child = program('')
    const ended = once(child, 'exit')
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await ended
    expect(() => fs.readdirSync(at('mnt'))).toThrow(/ENOTCONN/)
    const error = await failure(mount(stack()))
    expect(error.code).toBe('DEAD_MOUNT')
    expect(error.message).toContain('layerfs umount')
    expect(spawnSync('umount', ['-l', at('mnt')], { timeout: 20_000 }).status).toBe(0)
    const m = await open()
    expect(fs.readFileSync(at('mnt', 'written'), 'utf8')).toBe('data')
    await m.unmount()
  })
})
