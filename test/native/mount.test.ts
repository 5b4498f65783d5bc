import { execFile, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { EILSEQ, ENOTEMPTY, ERANGE, S_IFCHR } from '../../src/abi/linux.js'
import type { NativeStats } from '../../src/native/counters.js'
import { makedev } from '../../src/sys/stat.js'
import { mountsBelow } from '../support/mounts.js'
import { getxattr, listxattr, mknod, SysError, setxattr } from '../support/sys.js'
import { type Daemon, daemon } from './daemon.js'

const run = promisify(execFile)

/** What an action fails with, by name, or `nothing`. */
function failure(action: () => unknown): string {
  try {
    action()
    return 'nothing'
  } catch (error) {
    if (error instanceof SysError) return `errno ${error.errno}`
    if (error instanceof Error && 'errno' in error) return `errno ${Math.abs(Number(error.errno))}`
    throw error
  }
}

describe('a stack mounted over fuse-native', () => {
  let d: Daemon
  const at = (...names: string[]): string => path.join(d.mnt, ...names)

  beforeAll(async () => {
    d = await daemon((dir) => {
      const lower = path.join(dir, 'lower')
      fs.mkdirSync(path.join(lower, 'sub'))
      fs.writeFileSync(path.join(lower, 'sub/file'), 'from the lower')
      fs.writeFileSync(path.join(lower, 'gone'), '')
      fs.writeFileSync(Buffer.from(`${lower}/not-\xff-utf8`, 'latin1'), '')
      fs.writeFileSync(path.join(lower, 'näm-日本'), 'named')
    })
  })
  afterAll(() => d.remove())

  it('says what it is in /proc/mounts', () => {
    const line = fs
      .readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((l) => l.includes(d.mnt))
    expect(line).toMatch(/^layerfs \S+ fuse\.layerfs rw,(?!.*no(dev|suid)).*default_permissions,allow_other/)
  })

  it('has devices, as a mount over the transport kernel', () => {
    mknod(path.join(d.mnt, 'null'), S_IFCHR | 0o666, makedev(1, 3))
    fs.writeFileSync(path.join(d.mnt, 'null'), 'gone')
    expect(fs.readFileSync(path.join(d.mnt, 'null'), 'utf8')).toBe('')
    fs.unlinkSync(path.join(d.mnt, 'null'))
  })

  it('copies up, whites out, and leaves the lower alone', () => {
    expect(fs.readFileSync(at('sub/file'), 'utf8')).toBe('from the lower')
    fs.appendFileSync(at('sub/file'), ', and more')
    expect(fs.readFileSync(at('sub/file'), 'utf8')).toBe('from the lower, and more')
    fs.rmSync(at('gone'))
    expect(fs.existsSync(at('gone'))).toBe(false)
    expect(fs.readFileSync(path.join(d.dir, 'lower/sub/file'), 'utf8')).toBe('from the lower')
    expect(fs.existsSync(path.join(d.dir, 'lower/gone'))).toBe(true)
    expect(fs.readFileSync(path.join(d.dir, 'upper/sub/file'), 'utf8')).toBe('from the lower, and more')
  })

  it('lists names of every script, with types and inode numbers', () => {
    const entries = new Map(fs.readdirSync(at(), { withFileTypes: true }).map((e) => [e.name, e]))
    expect(entries.get('sub')?.isDirectory()).toBe(true)
    expect(entries.get('näm-日本')?.isFile()).toBe(true)
    expect(fs.readFileSync(at('näm-日本'), 'utf8')).toBe('named')
    const listed = spawnSync('ls', ['-i', at('sub')], { encoding: 'utf8', timeout: 10_000 }).stdout
    expect(Number.parseInt(listed, 10)).toBe(fs.statSync(at('sub/file')).ino)
  })

  it('leaves names that are not UTF-8 out, and refuses them', () => {
    expect(fs.readdirSync(at(), 'latin1').filter((name) => name.startsWith('not-'))).toEqual([])
    const name = Buffer.from(`${d.mnt}/bad-\xff`, 'latin1')
    expect(failure(() => fs.writeFileSync(name, ''))).toBe(`errno ${EILSEQ}`)
    expect(failure(() => fs.symlinkSync(Buffer.from('\xff', 'latin1'), at('link-to-bad')))).toBe(
      `errno ${EILSEQ}`,
    )
  })

  it('keeps the two times of a file apart, to the millisecond', () => {
    fs.writeFileSync(at('times'), '')
    fs.utimesSync(at('times'), 1_000_000_000.25, 1_500_000_000.125)
    const { atimeMs, mtimeMs } = fs.statSync(at('times'))
    expect({ atimeMs, mtimeMs }).toEqual({ atimeMs: 1_000_000_000_250, mtimeMs: 1_500_000_000_125 })
    spawnSync('touch', ['-d', '1969-12-31T23:59:58.5Z', at('times')], { timeout: 10_000 })
    expect(fs.statSync(path.join(d.dir, 'upper/times')).mtimeMs).toBe(-1500)
    expect(fs.statSync(at('times')).mtimeMs).toBe(0)
  })

  it('shows a write through one name under the other', () => {
    fs.writeFileSync(at('one'), 'a')
    fs.linkSync(at('one'), at('other'))
    expect(fs.readFileSync(at('other'), 'utf8')).toBe('a')
    fs.appendFileSync(at('one'), 'bc')
    expect(fs.statSync(at('other')).size).toBe(3)
    expect(fs.readFileSync(at('other'), 'utf8')).toBe('abc')
    expect(fs.statSync(at('other')).ino).toBe(fs.statSync(at('one')).ino)
    fs.rmSync(at('one'))
    expect(fs.statSync(at('other')).nlink).toBe(1)
  })

  it('unlinks an open file at once, and serves it until it is closed', () => {
    const fd = fs.openSync(at('open'), 'w+')
    fs.writeSync(fd, 'still here')
    fs.unlinkSync(at('open'))
    expect(fs.readdirSync(at()).filter((name) => name.includes('hidden') || name === 'open')).toEqual([])
    expect(fs.readdirSync(path.join(d.dir, 'upper')).filter((n) => n.includes('hidden'))).toEqual([])
    expect(fs.fstatSync(fd).nlink).toBe(0)
    fs.ftruncateSync(fd, 5)
    fs.fchmodSync(fd, 0o600)
    const text = Buffer.alloc(20)
    expect(fs.readSync(fd, text, 0, 20, 0)).toBe(5)
    expect(text.toString('utf8', 0, 5)).toBe('still')
    expect(fs.fstatSync(fd).mode & 0o777).toBe(0o600)
    fs.closeSync(fd)
  })

  it('replaces an open file, which lives on', () => {
    fs.writeFileSync(at('old'), 'old')
    fs.writeFileSync(at('new'), 'new')
    const fd = fs.openSync(at('old'), 'r')
    fs.renameSync(at('new'), at('old'))
    expect(fs.readFileSync(at('old'), 'utf8')).toBe('new')
    expect(fs.readFileSync(fd, 'utf8')).toBe('old')
    fs.closeSync(fd)
  })

  it('removes the directory of an open, unlinked file only once that is closed', () => {
    fs.mkdirSync(at('held'))
    const fd = fs.openSync(at('held/file'), 'w')
    fs.unlinkSync(at('held/file'))
    expect(failure(() => fs.rmdirSync(at('held')))).toBe(`errno ${ENOTEMPTY}`)
    fs.renameSync(at('held'), at('moved'))
    fs.writeSync(fd, 'written after the move')
    expect(fs.fstatSync(fd).size).toBe(22)
    fs.closeSync(fd)
    fs.rmdirSync(at('moved'))
  })

  it('tells its status and counts by xattrs of the root', () => {
    const status = JSON.parse(getxattr(d.mnt, 'layerfs.status').toString()) as Record<string, unknown>
    expect(status).toMatchObject({ transport: 'fuse-native', why: 'asked for', mountpoint: d.mnt })
    const stats = JSON.parse(getxattr(d.mnt, 'layerfs.stats').toString()) as NativeStats
    expect(stats.requests).toBeGreaterThan(0)
  })

  it('carries xattrs of every size, and says when a buffer is too small', () => {
    fs.writeFileSync(at('attr'), '')
    const large = Buffer.alloc(3000, 'x')
    setxattr(at('attr'), 'user.large', large)
    setxattr(at('attr'), 'user.empty', Buffer.alloc(0))
    expect(getxattr(at('attr'), 'user.large')).toEqual(large)
    expect(getxattr(at('attr'), 'user.empty')).toEqual(Buffer.alloc(0))
    expect(listxattr(at('attr')).sort()).toEqual(['user.empty', 'user.large'])
    expect(failure(() => getxattr(at('attr'), 'user.large', 10))).toBe(`errno ${ERANGE}`)
  })

  it('reads and writes more than one request at a time carries', () => {
    const bytes = Buffer.from(Uint8Array.from({ length: 3_000_001 }, (_, i) => i % 251))
    fs.writeFileSync(at('big'), bytes)
    expect(fs.readFileSync(at('big')).equals(bytes)).toBe(true)
    fs.truncateSync(at('big'), 5 * 2 ** 32)
    expect(fs.statSync(at('big')).size).toBe(5 * 2 ** 32)
    fs.rmSync(at('big'))
  })

  it('serves many callers at a time', async () => {
    const source = path.resolve('node_modules/yargs')
    await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        await run('cp', ['-r', source, at(`copy-${i}`)], { timeout: 60_000 })
        await run('diff', ['-r', source, at(`copy-${i}`)], { timeout: 60_000 })
        await run('rm', ['-r', at(`copy-${i}`)], { timeout: 60_000 })
      }),
    )
    expect(fs.readdirSync(at()).filter((name) => name.startsWith('copy-'))).toEqual([])
  })
})

describe('the end of a mount over fuse-native', () => {
  let d: Daemon | undefined
  afterEach(async () => {
    await d?.remove()
    d = undefined
  })

  it('comes with SIGTERM, and the program ends by itself', async () => {
    d = await daemon()
    fs.writeFileSync(path.join(d.mnt, 'kept'), 'kept')
    d.signal('SIGTERM')
    const stats = JSON.parse((await d.says('closed')).slice('closed'.length)) as NativeStats
    expect(stats.ops.create?.count).toBe(1)
    expect(stats.bytesWritten).toBe(4)
    expect(await d.ended).toBe(0)
    expect(mountsBelow(d.dir)).toEqual([])
    expect(fs.readFileSync(path.join(d.dir, 'upper/kept'), 'utf8')).toBe('kept')
  })

  it('is refused while a process uses the mount, in one clear line', async () => {
    d = await daemon()
    const user = spawn('sleep', ['60'], { cwd: d.mnt, stdio: 'ignore' })
    const gone = new Promise((resolve) => user.once('exit', resolve))
    try {
      d.signal('SIGTERM')
      expect(await d.says('MOUNTPOINT_BUSY')).toContain('target is busy')
    } finally {
      user.kill('SIGKILL')
      await gone
    }
    d.signal('SIGTERM')
    await d.says('closed')
    expect(await d.ended).toBe(0)
  })

  it('comes with the exit of the process too', async () => {
    d = await daemon()
    d.signal('SIGUSR2')
    expect(await d.ended).toBe(0)
    expect(mountsBelow(d.dir)).toEqual([])
  })

  it('is noticed when somebody else unmounts', async () => {
    d = await daemon()
    await run('umount', [d.mnt], { timeout: 30_000 })
    await d.says('closed')
    expect(await d.ended).toBe(0)
  })

  it('waits for the last open file after a lazy unmount', async () => {
    d = await daemon((dir) => fs.writeFileSync(path.join(dir, 'lower/file'), 'whole'))
    const fd = fs.openSync(path.join(d.mnt, 'file'), 'r')
    d.signal('SIGHUP')
    await expect.poll(() => mountsBelow(d?.dir ?? ''), { timeout: 30_000 }).toEqual([])
    expect(fs.readFileSync(fd, 'utf8')).toBe('whole')
    fs.closeSync(fd)
    await d.says('closed')
    expect(await d.ended).toBe(0)
  })
})

describe('mount options over fuse-native', () => {
  let d: Daemon | undefined
  afterEach(async () => {
    await d?.remove()
    d = undefined
  })

  it('reach the kernel', async () => {
    d = await daemon(undefined, {
      kernelOptions: ['ro', 'noatime', 'nodev'],
      fsname: 'a name',
      subtype: 'sub',
    })
    const line = fs
      .readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((l) => l.includes(d?.mnt ?? ''))
    expect(line).toMatch(/^a\\040name \S+ fuse\.sub ro,nodev,noatime,/)
  })
})
