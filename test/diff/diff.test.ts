/** What a stack shows differently from another: in letters, as a patch, as an OCI layer. */
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { S_IFCHR } from '../../src/abi/linux.js'
import { diffStacks } from '../../src/diff/diff.js'
import { exportTree } from '../../src/export/export.js'
import { makedev } from '../../src/sys/stat.js'
import { Bench, BIN, exitOf, hardlink, layerfs, symlink, whiteout } from '../export/kit.js'
import { mountOverlay, umount } from '../support/mounts.js'
import { mknod, setxattr, utimens } from '../support/sys.js'
import { compareTrees } from '../support/tree.js'

let bench: Bench
beforeEach(() => {
  bench = new Bench('diff')
})
afterEach(() => bench[Symbol.dispose]())

const spec = (...dirs: string[]) => dirs.map((dir) => ({ path: dir }))

/** `KIND /path` of every change. */
const changes = (old: string[], now: string[]): Promise<string[]> =>
  diffStacks(spec(...old), spec(...now), {}, (diff) =>
    [...diff.changes].map(({ kind, path }) => `${kind} /${path}`),
  )

describe('changes', () => {
  it('are told apart by kind, in byte order, a directory before what it holds', async () => {
    const base = bench.make('base', {
      content: 'one',
      gone: 'x',
      mode: 'm',
      owner: 'o',
      same: 's',
      time: 't',
      type: 'file',
      dir: { inside: 'i', other: 'o' },
      removed: { deep: { er: 'x' } },
      untouched: { a: 'a' },
      xattr: 'x',
    })
    const upper = bench.make('upper', {
      content: 'two',
      gone: whiteout,
      mode: 'm',
      owner: 'o',
      same: 's',
      time: 't',
      type: { now: 'dir' },
      dir: { inside: 'changed' },
      removed: whiteout,
      new: { sub: { file: 'f' } },
      xattr: 'x',
    })
    for (const name of ['content', 'mode', 'owner', 'same', 'xattr', 'time'])
      for (const layer of [base, upper]) utimens(`${layer}/${name}`, 1e9, 0, 1e9, 0)
    for (const layer of [base, upper]) utimens(layer, 1e9, 0, 1e9, 0)
    utimens(`${upper}/time`, 1e9, 0, 1e9, 1)
    fs.chmodSync(`${upper}/mode`, 0o600)
    fs.chownSync(`${upper}/owner`, 1, 1)
    setxattr(`${upper}/xattr`, 'user.x', 'y')
    expect(await changes([base], [upper, base])).toEqual([
      'modified /content',
      'contents /dir',
      'modified /dir/inside',
      'deleted /gone',
      'metadata /mode',
      'added /new',
      'added /new/sub',
      'added /new/sub/file',
      'metadata /owner',
      'deleted /removed',
      'same /same',
      'metadata /time',
      'type /type',
      'added /type/now',
      'metadata /xattr',
    ])
  })

  it('of an opaque directory are what it hides and what it holds', async () => {
    const base = bench.make('base', { dir: { old: 'x', both: 'b' } })
    const upper = bench.make('upper', { dir: { both: 'c', new: 'n' } })
    setxattr(`${upper}/dir`, 'trusted.overlay.opaque', 'y')
    expect(await changes([base], [upper, base])).toEqual([
      'contents /dir',
      'modified /dir/both',
      'added /dir/new',
      'deleted /dir/old',
    ])
  })

  it('between stacks that share layers pass over what they share', async () => {
    const base = bench.make('base', { usr: { lib: { a: 'a' } }, etc: { a: 'a' } })
    const one = bench.make('one', { etc: { b: 'b' } })
    const two = bench.make('two', { etc: { c: 'c' } })
    // Not to be read at all: the directory would be listed in vain.
    expect(await changes([one, base], [two, base])).toEqual([
      'contents /etc',
      'deleted /etc/b',
      'added /etc/c',
    ])
    expect(await changes([one, base], [one, base])).toEqual([])
  })
})

describe('layerfs diff', () => {
  it('speaks in the letters of podman, parents of changes included', () => {
    const base = bench.make('base', { etc: { motd: 'old', gone: 'g' }, same: 's' })
    const upper = bench.make('upper', { etc: { motd: 'new text', gone: whiteout, add: 'a' }, same: 's' })
    for (const layer of [base, upper]) utimens(`${layer}/same`, 1e9, 0, 1e9, 0)
    const ran = layerfs(['diff', '--upper', upper, '--lower', base])
    expect(ran.code, ran.err).toBe(0)
    expect(ran.out.split('\n')).toEqual(['C /etc', 'A /etc/add', 'D /etc/gone', 'C /etc/motd', ''])
    const json = JSON.parse(layerfs(['diff', '--upper', upper, '--lower', base, '--json']).out) as unknown[]
    expect(json).toContainEqual({ path: '/etc/motd', change: 'C', kind: 'modified' })
    expect(json).toContainEqual({ path: '/same', change: '', kind: 'same' })
    const stat = layerfs(['diff', '--upper', upper, '--lower', base, '--stat'])
    expect(stat.out).toMatch(/^1 {2}added\n1 {2}modified\n1 {2}deleted\n/)
  })

  it('looks at the upper of a mount', () => {
    const base = bench.make('base', { a: 'a', b: 'b' })
    bench.make('mnt', {})
    expect(layerfs(['mount', '--lower', base, '--ephemeral', bench.at('mnt')]).code).toBe(0)
    try {
      fs.writeFileSync(bench.at('mnt/c'), 'c')
      fs.rmSync(bench.at('mnt/a'))
      expect(layerfs(['diff', bench.at('mnt')])).toMatchObject({ code: 0, out: 'D /a\nA /c\n' })
    } finally {
      expect(layerfs(['umount', bench.at('mnt')]).code).toBe(0)
    }
  })

  it('says what to compare with where nothing is given', () => {
    const base = bench.make('base', {})
    expect(layerfs(['diff', '--lower', base])).toMatchObject({
      code: exitOf('USAGE'),
      err: expect.stringContaining('--from DIR'),
    })
  })

  it('makes a patch that git can apply', () => {
    const base = bench.make('base', {
      dir: { text: 'one\ntwo\nthree\n', gone: 'bye\n' },
      bin: 'a\0b',
      old: { f: 'f\n' },
    })
    const upper = bench.make('upper', {
      dir: { text: 'one\n2\nthree\n', gone: whiteout, new: 'hello\nno newline' },
      bin: 'a\0c',
      old: whiteout,
    })
    const ran = layerfs(['diff', '--upper', upper, '--lower', base, '--patch'])
    expect(ran.code, ran.err).toBe(0)
    expect(ran.out).toContain('Binary files a/bin and b/bin differ')
    expect(ran.out).toContain('-two\n+2\n')
    const copy = bench.make('copy', {})
    execFileSync('cp', ['-a', `${base}/.`, copy])
    const applied = spawnSync('git', ['apply', '--unsafe-paths', '-p1', '-'], {
      cwd: copy,
      input: ran.out.replace(/^Binary files .*\n/m, ''),
      encoding: 'utf8',
      env: { ...process.env, GIT_CEILING_DIRECTORIES: bench.dir },
    })
    expect(applied.status, applied.stderr).toBe(0)
    expect(fs.readFileSync(`${copy}/dir/text`, 'utf8')).toBe('one\n2\nthree\n')
    expect(fs.readFileSync(`${copy}/dir/new`, 'utf8')).toBe('hello\nno newline')
    expect(fs.existsSync(`${copy}/dir/gone`)).toBe(false)
    expect(fs.existsSync(`${copy}/old/f`)).toBe(false)
  })
})

describe('an OCI layer', () => {
  /** Unpacks the changes over nothing, as a layer of its own. */
  function unpacked(upper: string, base: string): string {
    const layer = bench.make('layer', {})
    const tar = spawnSync(process.execPath, [BIN, 'diff', '--upper', upper, '--lower', base, '--tar'], {
      maxBuffer: 64 << 20,
      timeout: 60_000,
    })
    expect(tar.status, tar.stderr.toString()).toBe(0)
    execFileSync('tar', ['-x', '--xattrs', '--xattrs-include=*', '--numeric-owner', '-C', layer], {
      input: tar.stdout,
    })
    return layer
  }

  it('over the lowers shows what the stack shows', async () => {
    const long = 'n'.repeat(255)
    const base = bench.make('base', {
      etc: { motd: 'old', gone: 'g' },
      opaque: { old: 'o' },
      replaced: { by: 'file' },
      usr: { bin: { tool: 't' } },
    })
    const upper = bench.make('upper', {
      etc: { motd: 'new', gone: whiteout, [long]: 'long', link: symlink(`${long}/${long}`) },
      opaque: { new: 'n', again: hardlink('new') },
      replaced: 'file',
      dev: (at) => mknod(at, S_IFCHR | 0o640, makedev(10, 300)),
      big: 'x'.repeat(3_000_000),
    })
    fs.writeFileSync(Buffer.concat([Buffer.from(`${upper}/etc/`), Buffer.from([0xff, 0xc3])]), 'bytes')
    setxattr(`${upper}/opaque`, 'trusted.overlay.opaque', 'y')
    setxattr(`${upper}/etc/motd`, 'user.bytes', Buffer.from([0, 0xff, 0x0a, 0x80]))
    setxattr(
      `${upper}/big`,
      'security.capability',
      Buffer.from('0100000200200000000000000000000000000000', 'hex'),
    )
    fs.chownSync(`${upper}/etc/motd`, 3_000_000, 4_000_000)
    fs.chmodSync(`${upper}/etc/${long}`, 0)
    utimens(`${upper}/etc/motd`, 1e9, 0, 1e9, 123456789)
    const layer = unpacked(upper, base)
    expect(fs.existsSync(`${layer}/etc/.wh.gone`)).toBe(true)
    expect(fs.existsSync(`${layer}/opaque/.wh..wh..opq`)).toBe(true)
    expect(fs.existsSync(`${layer}/usr`)).toBe(false)
    await exportTree(spec(upper, base), bench.at('expected'), { link: 'copy' })
    await exportTree(spec(layer, base), bench.at('got'), { link: 'copy' })
    // Archives hold no inode numbers; the root itself is no member of a layer.
    const root = fs.lstatSync(bench.at('expected'))
    fs.utimesSync(bench.at('got'), root.atime, root.mtime)
    utimens(bench.at('expected'), 1e9, 0, 1e9, 0)
    utimens(bench.at('got'), 1e9, 0, 1e9, 0)
    expect(compareTrees(bench.at('expected'), bench.at('got'))).toEqual([])
  })

  it('refuses a file whose name would mean a whiteout', () => {
    const base = bench.make('base', {})
    const upper = bench.make('upper', { '.wh.real': 'a file' })
    setxattr(upper, 'trusted.overlay.layerfs.whiteouts', 'overlay')
    const ran = layerfs(['diff', '--upper', upper, '--lower', base, '--tar'])
    expect(ran).toMatchObject({ code: exitOf('UNSUPPORTED'), err: expect.stringContaining('/.wh.real') })
  })

  it('of an upper that the kernel wrote is right too', async () => {
    const base = bench.make('base', { a: { b: { c: 'c' } }, d: { e: 'e' }, f: 'f' })
    const upper = bench.make('upper', {})
    const mnt = bench.make('mnt', {})
    bench.make('work', {})
    mountOverlay({ lower: [base], upper, work: bench.at('work'), mountpoint: mnt })
    fs.rmSync(`${mnt}/d`, { recursive: true })
    fs.mkdirSync(`${mnt}/d`)
    fs.writeFileSync(`${mnt}/d/new`, 'n')
    fs.appendFileSync(`${mnt}/a/b/c`, '!')
    fs.rmSync(`${mnt}/f`)
    umount(mnt)
    expect(layerfs(['diff', '--upper', upper, '--lower', base]).out.split('\n')).toEqual([
      'C /a',
      'C /a/b',
      'C /a/b/c',
      'C /d',
      'D /d/e',
      'A /d/new',
      'D /f',
      '',
    ])
    const layer = unpacked(upper, base)
    await exportTree(spec(upper, base), bench.at('expected'))
    await exportTree(spec(layer, base), bench.at('got'))
    utimens(bench.at('expected'), 1e9, 0, 1e9, 0)
    utimens(bench.at('got'), 1e9, 0, 1e9, 0)
    expect(
      compareTrees(bench.at('expected'), bench.at('got'), {
        without: ['nlink'],
        xattr: (name) => !name.startsWith('trusted.overlay.'),
      }),
    ).toEqual([])
  })
})
