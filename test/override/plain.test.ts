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

const layerfs = (...words: string[]): Ran => plain([s.node, path.join(s.dir, 'bin/layerfs.js'), ...words])

const LAYERS = ['--lower', 'lower', '--upper', 'upper', '--work', 'work']
const mount = (...more: string[]): Ran => layerfs('mount', '--override', 'xattr', ...LAYERS, ...more, 'mnt')

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

  test('changes files of his own that are read-only or closed to himself', () => {
    const make =
      'cd lower; echo r >readonly; chmod 400 readonly; mkdir shut; echo s >shut/file; chmod 0 shut/file'
    expect(shell(`${make}; chmod 500 shut`)).toMatchObject({ code: 0, stderr: '' })
    expect(mount().code).toBe(0)
    const change =
      'cd mnt; echo more >>readonly; cat readonly; chmod 0 readonly; cat readonly; echo x >>readonly; rm readonly; cat shut/file || rm shut/file; rmdir shut; ls -A'
    expect(shell(change)).toEqual({
      code: 0,
      stdout: 'r\nmore\nr\nmore\n',
      stderr: 'cat: shut/file: Permission denied\n',
    })
    expect(shell('fusermount3 -u mnt; stat -c %a lower/readonly lower/shut/file').stdout).toBe('400\n0\n')
  })

  test('without the option too, where they have xattrs that only a writer may set', () => {
    const keep = 'setfattr -n user.x -v kept'
    const make = `cd lower; mkdir -p d/e; echo r >f; echo s >d/file; ${keep} f d; chmod 400 f; chmod 500 d d/e`
    expect(shell(make)).toMatchObject({ code: 0, stderr: '' })
    expect(layerfs('mount', ...LAYERS, 'mnt').code).toBe(0)
    const change =
      'cd mnt; ln f again; chmod 440 f; touch -d @1 d; echo more >>d/file; chmod 700 d/e; getfattr -h --only-values -n user.x f d'
    expect(shell(change)).toEqual({ code: 0, stdout: 'keptkept', stderr: '' })
    expect(shell('stat -c "%a %Y" mnt/d; stat -c %a mnt/again mnt/d/e; cat mnt/d/file').stdout).toBe(
      '500 1\n440\n700\ns\nmore\n',
    )
    expect(
      shell('chmod 700 mnt/d; rm -rf mnt/d; fusermount3 -u mnt; stat -c %a lower/d lower/d/e').stdout,
    ).toBe('500\n500\n')
  })

  test('makes FIFOs and sockets; a device takes privilege', () => {
    expect(mount().code).toBe(0)
    const fifo = 'mknod mnt/pipe p; chown 9:10 mnt/pipe; stat -c "%F %u:%g" mnt/pipe'
    expect(shell(fifo)).toEqual({ code: 0, stdout: 'fifo 9:10\n', stderr: '' })
    expect(shell('mknod mnt/null c 1 3').stderr).toContain('Operation not permitted')
    expect(shell('fusermount3 -u mnt; stat -c %u upper/pipe').stdout).toBe(`${plainUser().uid}\n`)
  })

  test('exports such a tree as far as it can be his, and packs it whole', () => {
    expect(mount().code).toBe(0)
    expect(shell('tar --same-owner -xpf root.tar -C mnt; fusermount3 -u mnt').code).toBe(0)
    const exported = layerfs('export', '--override', 'xattr', '--lower', 'upper', 'out')
    expect(exported).toMatchObject({ code: 0, stderr: expect.stringContaining('belong to you instead') })
    expect(fs.readFileSync(at('out/root/note'), 'utf8')).toBe('note')
    for (const name of ['root', 'root/note', 'etc/shadow', 'bin/su']) {
      const { uid, mode } = fs.statSync(at('out', name))
      expect([name, uid]).toEqual([name, plainUser().uid])
      expect([name, mode & 0o7777]).toEqual([
        name,
        { root: 0, 'root/note': 0o400, 'etc/shadow': 0, 'bin/su': 0o755 }[name],
      ])
    }
    const packed = shell(
      `"${s.node}" "${s.dir}/bin/layerfs.js" diff --override xattr --tar --upper upper --lower lower >layer.tar
      tar -tvf layer.tar --numeric-owner | awk '{ print $1, $2, $6 }' | sort -k 3`,
    )
    expect(packed).toMatchObject({ code: 0, stderr: '' })
    expect(packed.stdout).toContain('---------- 0/42 etc/shadow')
    expect(packed.stdout).toContain('-rwsr-xr-x 0/0 bin/su')
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
