/** A plain user unpacks a root filesystem: he is root on a mount of his own, and nothing on disk is anybody else's. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { OVERRIDE_CONTAINERS } from '../../src/abi/overlay.js'
import { type Ran, run } from '../support/command.js'
import { command, environment, plainUser, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Stage, stage } from '../support/stage.js'

let s: Stage
beforeAll(() => {
  s = stage()
})
afterAll(() => s.remove())

let dir: string
const at = (...names: string[]): string => path.join(dir, ...names)
beforeEach(() => {
  dir = scratch('override', 'plain')
  for (const name of ['lower', 'upper', 'work', 'mnt']) {
    fs.mkdirSync(at(name))
    fs.chownSync(at(name), plainUser().uid, plainUser().gid)
  }
})
afterEach(() => discard(dir))

function plain(argv: readonly string[]): Ran {
  const [program = '', ...words] = command('plain', argv)
  return run(program, words, { cwd: dir, env: environment('plain') })
}
const shell = (script: string): Ran => plain(['bash', '-euc', script])

const mount = (...more: string[]): Ran =>
  plain([
    ...[s.node, path.join(s.dir, 'bin/layerfs.js'), 'mount', '--override', 'xattr'],
    ...['--lower', 'lower', '--upper', 'upper', '--work', 'work', ...more, 'mnt'],
  ])

/** An archive as root makes them: owners, set-id bits, files that nobody may read. */
function archive(): void {
  const tree = at('tree')
  fs.mkdirSync(path.join(tree, 'etc'), { recursive: true })
  fs.mkdirSync(path.join(tree, 'bin'))
  fs.writeFileSync(path.join(tree, 'etc/shadow'), 'secret', { mode: 0 })
  fs.chownSync(path.join(tree, 'etc/shadow'), 0, 42)
  fs.writeFileSync(path.join(tree, 'bin/su'), 'su')
  fs.chmodSync(path.join(tree, 'bin/su'), 0o4755)
  fs.symlinkSync('su', path.join(tree, 'bin/sh'))
  fs.mkdirSync(path.join(tree, 'root'), { mode: 0 })
  fs.writeFileSync(path.join(tree, 'root/note'), 'note', { mode: 0o400 })
  execFileSync('chown', ['-hR', '33:34', path.join(tree, 'bin/sh')])
  execFileSync('tar', ['-C', tree, '-cf', at('root.tar'), '.'])
  fs.rmSync(tree, { recursive: true })
}

const LISTING = [
  'drwxr-xr-x 0/0 ./',
  'drwxr-xr-x 0/0 ./bin/',
  'lrwxrwxrwx 33/34 ./bin/sh -> su',
  '-rwsr-xr-x 0/0 ./bin/su',
  'drwxr-xr-x 0/0 ./etc/',
  '---------- 0/42 ./etc/shadow',
  'd--------- 0/0 ./root/',
  '-r-------- 0/0 ./root/note',
]

describe('a plain user', () => {
  beforeEach(archive)

  test('unpacks, reads, changes and packs a root filesystem', () => {
    expect(mount()).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(shell('tar --same-owner -xpf root.tar -C mnt')).toMatchObject({ code: 0, stderr: '' })
    const list = () =>
      shell(
        `tar -C mnt --sort=name -c . | tar -tv --numeric-owner | awk '{ $3 = $4 = $5 = ""; print }' | tr -s ' '`,
      )
    expect(list().stdout.trim().split('\n')).toEqual(LISTING)
    expect(shell('cat mnt/etc/shadow mnt/root/note').stdout).toBe('secretnote')
    const change =
      'echo more >>mnt/etc/shadow; chown 5:6 mnt/root/note; chmod 4711 mnt/root/note; touch mnt/root/new; mkdir -m 0 mnt/closed; touch mnt/closed/in'
    expect(shell(change)).toMatchObject({ code: 0, stderr: '' })
    expect(shell('stat -c "%u:%g %a" mnt/root/note; cat mnt/etc/shadow').stdout).toBe(
      '5:6 4711\nsecretmore\n',
    )
    expect(shell('fusermount3 -u mnt').code).toBe(0)
    for (const entry of fs.readdirSync(at('upper'), { recursive: true, withFileTypes: true })) {
      const { uid, mode } = fs.lstatSync(path.join(entry.parentPath, entry.name))
      expect([entry.name, uid, mode & 0o7022]).toEqual([entry.name, plainUser().uid, 0])
    }
    expect(mount().code).toBe(0)
    expect(shell('stat -c "%u:%g %a %F" mnt/root/note mnt/etc/shadow mnt/bin/sh').stdout).toBe(
      '5:6 4711 regular file\n0:42 0 regular file\n33:34 777 symbolic link\n',
    )
    expect(shell('rm -rf mnt/*; ls -A mnt; fusermount3 -u mnt')).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  test('sees the devices and owners of a layer that keeps them so', () => {
    const keep = (name: string, value: string) =>
      `setfattr -n ${OVERRIDE_CONTAINERS} -v ${value} lower/${name}`
    const script = `${keep('.', '0:0:0755:dir')}; touch lower/null; ${keep('null', '0:0:0666:char-1-3')}`
    expect(shell(script)).toMatchObject({ code: 0, stderr: '' })
    expect(mount().code).toBe(0)
    expect(
      shell('stat -c "%u:%g %a %F %t:%T" mnt/null; chown 7:8 mnt/null; stat -c "%u:%g %F" mnt/null').stdout,
    ).toBe('0:0 666 character special file 1:3\n7:8 character special file\n')
    expect(shell('fusermount3 -u mnt').code).toBe(0)
  })

  test('nobody else may enter, root neither', () => {
    expect(mount().code).toBe(0)
    expect(() => fs.readdirSync(at('mnt'))).toThrow('EACCES')
    expect(shell('fusermount3 -u mnt').code).toBe(0)
  })

  test('with others on the mount the kernel checks permissions again', () => {
    expect(mount('-o', 'allow_other').code).toBe(0)
    expect(shell('touch mnt/file; chown 0:0 mnt/file').stderr).toContain('Operation not permitted')
    expect(shell('fusermount3 -u mnt').code).toBe(0)
  })
})
