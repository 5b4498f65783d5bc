/** The commands as engines and mount(8) run them: what is mounted, what they say, what they leave open. */
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { version } from '../../src/cli/version.js'
import { type Ran, run } from '../support/command.js'
import { scratch } from '../support/identity.js'
import { discard, umount } from '../support/mounts.js'
import { snapshot } from '../support/tree.js'

const BIN = path.resolve(import.meta.dirname, '../../bin')
const node = (name: string, words: readonly string[], cwd: string) =>
  run(process.execPath, [path.join(BIN, name), ...words], { cwd })

let dir: string
beforeEach(() => {
  dir = scratch('compat')
  for (const name of ['a', 'b', 'upper', 'work', 'm']) fs.mkdirSync(path.join(dir, name))
  fs.writeFileSync(path.join(dir, 'a/top'), 'of a')
  fs.writeFileSync(path.join(dir, 'b/base'), 'of b')
})
afterEach(() => discard(dir))

/** Type, source and options of the mount at `m`. */
function mounted(): { source: string; type: string; options: string[] } | undefined {
  const at = path.join(fs.realpathSync(dir), 'm')
  const line = fs
    .readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((text) => text.split(' '))
    .find((words) => words[1] === at)
  return line && { source: line[0] ?? '', type: line[2] ?? '', options: (line[3] ?? '').split(',') }
}

const FUSE_SUPER_MAGIC = 0x65735546

describe('fuse-layerfs', () => {
  test('mounts relative paths, tells what it ignores, and is gone from its caller', () => {
    const ran = node(
      'fuse-layerfs.js',
      ['-o', 'lowerdir=:a::b,upperdir=upper', '-oworkdir=work,private,', 'm', '-q'],
      dir,
    )
    // That this returned shows both outputs closed.
    expect(ran).toEqual({
      code: 0,
      stdout: '',
      stderr: 'unknown argument ignored: private\nunknown argument ignored: -q\n',
    })
    expect(mounted()).toMatchObject({ source: 'fuse-layerfs', type: 'fuse.layerfs' })
    expect(mounted()?.options).toEqual(
      expect.arrayContaining(['rw', 'noatime', 'default_permissions', 'allow_other']),
    )
    const m = path.join(dir, 'm')
    expect(fs.readdirSync(m).sort()).toEqual(['base', 'top'])
    expect(fs.statfsSync(m).type).toBe(FUSE_SUPER_MAGIC)
    fs.writeFileSync(path.join(m, 'new'), 'new')
    umount(m)
    expect(fs.readFileSync(path.join(dir, 'upper/new'), 'utf8')).toBe('new')
  })

  test('by way of a pipe that its caller reads to the end', async () => {
    const child = spawn(process.execPath, [path.join(BIN, 'fuse-layerfs.js'), '-o', 'lowerdir=a', 'm'], {
      cwd: dir,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect([code, said]).toEqual([0, ''])
    expect(mounted()?.options).toContain('ro')
    umount(path.join(dir, 'm'))
  })

  test('-f stays until it is unmounted', async () => {
    const child = spawn(
      process.execPath,
      [path.join(BIN, 'fuse-layerfs.js'), '-f', '-o', 'lowerdir=a', 'm'],
      {
        cwd: dir,
        stdio: 'ignore',
      },
    )
    const ended = new Promise((resolve) => child.on('exit', resolve))
    while (mounted() === undefined && child.exitCode === null) await new Promise((r) => setTimeout(r, 20))
    expect(child.exitCode).toBeNull()
    umount(path.join(dir, 'm'))
    expect(await ended).toBe(0)
  })

  test.each([
    ['lowerdir=nowhere', 'no such directory: '],
    ['lowerdir=a/top', 'not a directory: '],
    ['lowerdir=a,upperdir=upper', 'workdir not specified'],
    ['lowerdir=a,upperdir=a,workdir=work', 'upper '],
    ['uidmapping=x,lowerdir=a', 'bad id map'],
  ])('%s: one line and exit 1', (line, message) => {
    const { code, stdout, stderr } = node('fuse-layerfs.js', ['-o', line, 'm'], dir)
    expect(stderr).toMatch(/^fuse-layerfs: [^\n]+\n$/)
    expect(stderr).toContain(message)
    expect([code, stdout]).toEqual([1, ''])
    expect(mounted()).toBeUndefined()
  })

  test('--version has a line that containers/storage shows, -h the usage', () => {
    expect(node('fuse-layerfs.js', ['--version'], dir)).toEqual({
      code: 0,
      stdout: `fuse-layerfs: version ${version()}\n`,
      stderr: '',
    })
    expect(node('fuse-layerfs.js', ['-h'], dir).stdout).toMatch(
      /^usage: fuse-layerfs \[options\] <mountpoint>\n/,
    )
  })

  test('what root makes from outside a map belongs to its first owner', () => {
    const maps = 'uidmapping=:0:100000:65536,gidmapping=:0:200000:65536'
    const ran = node('fuse-layerfs.js', ['-o', `lowerdir=a,upperdir=upper,workdir=work,${maps}`, 'm'], dir)
    expect(ran.stderr).toBe('')
    const m = path.join(dir, 'm')
    fs.writeFileSync(path.join(m, 'made'), '')
    fs.symlinkSync('made', path.join(m, 'link'))
    fs.lchownSync(path.join(m, 'link'), 100007, 200008)
    expect(fs.statSync(path.join(m, 'made'))).toMatchObject({ uid: 100000, gid: 200000 })
    expect(fs.lstatSync(path.join(m, 'link'))).toMatchObject({ uid: 100007, gid: 200008 })
    umount(m)
    expect(fs.statSync(path.join(dir, 'upper/made'))).toMatchObject({ uid: 0, gid: 0 })
    expect(fs.lstatSync(path.join(dir, 'upper/link'))).toMatchObject({ uid: 7, gid: 8 })
  })
})

describe('mount(8)', () => {
  const helper = (...words: string[]): Ran => run(path.join(BIN, 'mount.fuse.layerfs'), words, { cwd: '/' })

  test('mount.fuse.layerfs, as its helper', () => {
    const words = `rw,lowerdir=${dir}/a:${dir}/b,noauto,_netdev,x-systemd.device-timeout=5`
    const ran = helper('none', path.join(dir, 'm'), '-o', words)
    expect(ran).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(mounted()).toMatchObject({ source: 'none', type: 'fuse.layerfs' })
    umount(path.join(dir, 'm'))
  })

  test('mount.fuse3 finds layerfs on PATH', () => {
    const bin = path.join(dir, 'bin')
    fs.mkdirSync(bin)
    fs.symlinkSync(path.join(BIN, 'layerfs'), path.join(bin, 'layerfs'))
    const PATH = `${bin}:${path.dirname(process.execPath)}:${process.env.PATH}:/usr/sbin:/sbin`
    const words = ['overlay', path.join(dir, 'm'), '-o', `lowerdir=${dir}/a`, '-o', 'noauto', '-t', 'layerfs']
    const ran = spawnSync('mount.fuse3', words, {
      env: { ...process.env, PATH },
      timeout: 60_000,
      encoding: 'utf8',
    })
    expect([ran.status, ran.stdout, ran.stderr]).toEqual([0, '', ''])
    expect(mounted()).toMatchObject({ source: 'overlay', type: 'fuse.layerfs' })
    umount(path.join(dir, 'm'))
  })

  test('remount,ro refuses changes and remount,rw takes them again, with files open', () => {
    const m = path.join(dir, 'm')
    const upper = path.join(dir, 'upper')
    const layers = `lowerdir=${dir}/a,upperdir=${upper},workdir=${dir}/work`
    expect(helper('none', m, '-o', `nosuid,${layers}`).code).toBe(0)
    // What mount(8) gives its helper: all that the kernel shows of the mount.
    const again = (word: string): { code: number | null; stderr: string } => {
      const shown = mounted()?.options.filter((option) => !['rw', 'ro'].includes(option)) ?? []
      return helper('none', m, '-o', [...shown, 'remount', word].join())
    }
    fs.writeFileSync(path.join(m, 'made'), 'new')
    const writer = fs.openSync(path.join(m, 'made'), 'a')
    expect(again('ro')).toMatchObject({ code: 32, stderr: expect.stringContaining('open for writing') })
    fs.writeSync(writer, ' and more')
    fs.closeSync(writer)
    const reader = fs.openSync(path.join(m, 'made'), 'r')
    expect(again('ro')).toMatchObject({ code: 0, stderr: '' })
    expect(mounted()?.options).toEqual(expect.arrayContaining(['ro', 'nosuid']))
    const before = snapshot(upper)
    for (const change of [
      () => fs.writeFileSync(path.join(m, 'another'), ''),
      () => fs.appendFileSync(path.join(m, 'made'), 'x'),
      () => fs.truncateSync(path.join(m, 'made')),
      () => fs.chmodSync(path.join(m, 'made'), 0o600),
      () => fs.fchmodSync(reader, 0o600),
      () => fs.renameSync(path.join(m, 'made'), path.join(m, 'moved')),
      () => fs.linkSync(path.join(m, 'made'), path.join(m, 'linked')),
      () => fs.unlinkSync(path.join(m, 'made')),
      () => fs.mkdirSync(path.join(m, 'dir')),
      () => fs.unlinkSync(path.join(m, 'top')),
    ])
      expect(change).toThrow('EROFS')
    expect(fs.readFileSync(reader, 'utf8')).toBe('new and more')
    expect(snapshot(upper)).toEqual(before)
    expect(again('rw')).toMatchObject({ code: 0, stderr: '' })
    fs.appendFileSync(path.join(m, 'top'), '!')
    fs.renameSync(path.join(m, 'made'), path.join(m, 'moved'))
    fs.closeSync(reader)
    umount(m)
    expect(fs.readFileSync(path.join(upper, 'moved'), 'utf8')).toBe('new and more')
    expect(fs.readFileSync(path.join(upper, 'top'), 'utf8')).toMatch(/!$/)
  })

  test('exit codes: 1 for a wrong line, 32 for a mount that failed', () => {
    const m = path.join(dir, 'm')
    const wrong = helper('none', m, '-o', `lowerdri=${dir}/a`)
    expect(wrong).toMatchObject({ code: 1, stdout: '' })
    expect(wrong.stderr).toBe('mount.fuse.layerfs: unknown option "lowerdri": did you mean lowerdir?\n')
    const failed = helper('none', m, '-o', 'lowerdir=/no/such')
    expect(failed.code).toBe(32)
    expect(failed.stderr).toContain('mount.fuse.layerfs: no such directory: /no/such')
  })
})
