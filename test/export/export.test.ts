/** The merged tree as a directory: what it holds, and that its files are the layers' own. */
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { S_IFCHR, S_IFIFO, S_IFREG } from '../../src/abi/linux.js'
import { exportTree } from '../../src/export/export.js'
import { verifyExport } from '../../src/export/verify.js'
import { makedev } from '../../src/sys/stat.js'
import { mountOverlay, umount } from '../support/mounts.js'
import { listxattr, mknod, setxattr, statx, utimens } from '../support/sys.js'
import { compareTrees } from '../support/tree.js'
import { Bench, hardlink, inode, MANY_FILES_MS, symlink, whiteout } from './kit.js'

let bench: Bench
beforeEach(() => {
  bench = new Bench('export')
})
afterEach(() => bench[Symbol.dispose]())

const spec = (...dirs: string[]) => dirs.map((dir) => ({ path: dir }))
const content = (file: string): string => fs.readFileSync(file, 'utf8')

/** Exports, and compares with the stack. */
async function exported(layers: string[], ...options: [Parameters<typeof exportTree>[2]?]): Promise<string> {
  const out = bench.at('out')
  await exportTree(spec(...layers), out, options[0])
  const differences: unknown[] = []
  await verifyExport(spec(...layers), out, (d) => differences.push(d), options[0])
  expect(differences).toEqual([])
  return out
}

describe('the exported tree', () => {
  it('has the inode of the layer that provides each file', async () => {
    const base = bench.make('base', { etc: { motd: 'base', passwd: 'root' }, bin: { sh: 'sh' } })
    const top = bench.make('top', { etc: { motd: 'top' } })
    const out = await exported([top, base])
    expect(inode(`${out}/etc/motd`)).toBe(inode(`${top}/etc/motd`))
    expect(inode(`${out}/etc/passwd`)).toBe(inode(`${base}/etc/passwd`))
    expect(inode(`${out}/bin/sh`)).toBe(inode(`${base}/bin/sh`))
  })

  it('resolves whiteouts of every form, and opaque directories', async () => {
    const base = bench.make('base', {
      gone: 'x',
      oci: 'x',
      dir: { old: 'x' },
      ocidir: { old: 'x' },
      xattr: { hidden: 'x', stays: 'x' },
      kept: 'x',
    })
    const top = bench.make('top', {
      gone: whiteout,
      '.wh.oci': '',
      dir: { new: 'y' },
      ocidir: { '.wh..wh..opq': '', new: 'y' },
      xattr: { hidden: '' },
    })
    setxattr(`${top}/dir`, 'trusted.overlay.opaque', 'y')
    setxattr(`${top}/xattr`, 'trusted.overlay.opaque', 'x')
    setxattr(`${top}/xattr/hidden`, 'trusted.overlay.whiteout', '')
    const out = await exported([top, base])
    expect(fs.readdirSync(out, { recursive: true }).sort()).toEqual([
      'dir',
      'dir/new',
      'kept',
      'ocidir',
      'ocidir/new',
      'xattr',
      'xattr/stays',
    ])
  })

  it('is what a mount of the kernel shows, metadata and all', async () => {
    const base = bench.make('base', {
      a: { one: '1', two: hardlink('one'), link: symlink('../b') },
      b: { file: 'b', deep: { er: { est: 'x' } } },
      fifo: (at) => mknod(at, S_IFIFO | 0o620),
      device: (at) => mknod(at, S_IFCHR | 0o600, makedev(1, 3)),
    })
    const top = bench.make('top', { a: { three: '3' }, b: { file: whiteout, new: 'n' } })
    fs.chownSync(`${base}/a/one`, 12, 34)
    fs.chmodSync(`${base}/a/one`, 0o4751)
    fs.chmodSync(`${base}/b/deep`, 0o1711)
    fs.chownSync(`${top}/a`, 56, 78)
    fs.chmodSync(`${top}/a`, 0o2775)
    setxattr(`${base}/b/deep`, 'user.note', 'kept')
    setxattr(`${top}/a`, 'user.note', 'top')
    // Version 2, u::rwx u:1000:rwx g::r-x m::rwx o::---, as an access and a default ACL.
    const acl = Buffer.from(
      '0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000000ffffffff',
      'hex',
    )
    setxattr(`${base}/b/deep/er`, 'system.posix_acl_access', acl)
    setxattr(`${base}/b/deep/er`, 'system.posix_acl_default', acl)
    for (const [i, file] of ['a/one', 'b/deep/er', 'b/deep', 'b', 'a', '.'].entries())
      utimens(`${base}/${file}`, 1e9 + i, 5, 1e9 + i, 123456789)
    for (const file of ['a', 'b', '.']) utimens(`${top}/${file}`, 1.1e9, 7, 1.1e9, 987654321)
    const out = await exported([top, base])
    fs.mkdirSync(bench.at('mnt'))
    mountOverlay({ lower: [top, base], mountpoint: bench.at('mnt') })
    const without = ['nlink'] as const
    expect(compareTrees(bench.at('mnt'), out, { without })).toEqual([])
    umount(bench.at('mnt'))
    expect(statx(`${out}/a/one`).nlink).toBe(4)
    expect(inode(`${out}/a/one`)).toBe(inode(`${out}/a/two`))
  })

  it('takes an upper as the topmost layer, with what overlayfs notes in it', async () => {
    const base = bench.make('base', { dir: { file: 'old', other: 'o' }, moved: { inside: 'i' }, big: 'data' })
    const upper = bench.make('upper', {})
    bench.make('work', {})
    const mnt = bench.make('mnt', {})
    mountOverlay({ lower: [base], upper, work: bench.at('work'), mountpoint: mnt }, [
      'redirect_dir=on',
      'metacopy=on',
    ])
    fs.writeFileSync(`${mnt}/dir/file`, 'new')
    fs.rmSync(`${mnt}/dir/other`)
    fs.renameSync(`${mnt}/moved`, `${mnt}/dir/here`)
    fs.chmodSync(`${mnt}/big`, 0o600)
    const before = fs.readdirSync(mnt, { recursive: true }).sort()
    umount(mnt)
    const out = bench.at('out')
    const done = await exportTree(spec(upper, base), out)
    expect(fs.readdirSync(out, { recursive: true }).sort()).toEqual(before)
    expect(content(`${out}/dir/file`)).toBe('new')
    expect(content(`${out}/dir/here/inside`)).toBe('i')
    // Its metadata is in the upper, its data in the lower: no one inode has both.
    expect(content(`${out}/big`)).toBe('data')
    expect(fs.statSync(`${out}/big`).mode & 0o777).toBe(0o600)
    expect(done.refusals).toEqual({ metacopy: 1 })
  })

  it('shares between two exports all but what differs', async () => {
    const files: Record<string, string> = {}
    for (let i = 0; i < 100; i++) files[`file${i}`] = `${i}`.repeat(8192)
    const base = bench.make('base', { usr: { lib: files } })
    const pkg = bench.make('pkg', { usr: { bin: { tool: 'x'.repeat(4096) } } })
    const first = bench.at('roots', 'first')
    const second = bench.at('roots', 'second')
    fs.mkdirSync(bench.at('roots'))
    await exportTree(spec(base), first)
    await exportTree(spec(pkg, base), second)
    const du = (...dirs: string[]): number => {
      const seen = new Map<string, number>()
      for (const dir of dirs)
        for (const name of ['', ...(fs.readdirSync(dir, { recursive: true }) as string[])]) {
          const attr = statx(path.join(dir, name))
          seen.set(`${attr.ino}`, attr.blocks * 512)
        }
      return [...seen.values()].reduce((a, b) => a + b, 0)
    }
    const one = du(first)
    expect(one).toBeGreaterThan(800_000)
    expect(du(first, second) - one).toBeLessThan(60_000)
  })

  it('leaves nothing of a layer written, access times of directories included', async () => {
    const base = bench.make('base', { dir: { file: 'x' } })
    const long = 1e9
    for (const name of ['dir', '.', 'dir/file']) utimens(`${base}/${name}`, long, 0, long, 0)
    await exported([base], { link: 'copy' })
    for (const name of ['dir', '.', 'dir/file']) {
      expect(statx(`${base}/${name}`).atime, name).toBe(long)
      expect(statx(`${base}/${name}`).mtime, name).toBe(long)
    }
  })

  it('keeps the times, xattrs and links of copies', async () => {
    const base = bench.make('base', { a: 'content', b: hardlink('a'), l: symlink('nowhere') })
    setxattr(`${base}/a`, 'user.x', 'y')
    fs.chownSync(`${base}/a`, 5, 6)
    fs.lchownSync(`${base}/l`, 7, 8)
    fs.chmodSync(`${base}/a`, 0o6755)
    for (const name of ['a', 'l']) utimens(`${base}/${name}`, 1e9, 1, 1e9, 123456789)
    const out = await exported([base], { link: 'clone' })
    expect(compareTrees(base, out)).toEqual([])
    expect(inode(`${out}/a`)).not.toBe(inode(`${base}/a`))
    expect(inode(`${out}/a`)).toBe(inode(`${out}/b`))
  })

  it('keeps holes of copies', async () => {
    const base = bench.make('base', {})
    const fd = fs.openSync(`${base}/sparse`, 'w')
    fs.writeSync(fd, 'x', 8 * 1024 * 1024)
    fs.closeSync(fd)
    const out = await exported([base], { link: 'copy' })
    expect(statx(`${out}/sparse`).size).toBe(8 * 1024 * 1024 + 1)
    expect(statx(`${out}/sparse`).blocks).toBeLessThan(256)
  })
})

describe('owners that show shifted', () => {
  it('copies the files whose owner shifts and links the others', async () => {
    const base = bench.make('base', { mine: 'a', shifted: 'b' })
    fs.chownSync(`${base}/shifted`, 5, 5)
    const maps = [
      { disk: 0, shown: 0, count: 1 },
      { disk: 5, shown: 1005, count: 1 },
    ]
    const options = { uidmap: maps, gidmap: maps }
    const out = await exported([base], options)
    expect(inode(`${out}/mine`)).toBe(inode(`${base}/mine`))
    expect(statx(`${out}/shifted`)).toMatchObject({ uid: 1005, gid: 1005, nlink: 1 })
    expect(statx(`${base}/shifted`)).toMatchObject({ uid: 5, gid: 5, nlink: 1 })
  })

  it('copies a file whose ACL names a shifted user', async () => {
    const base = bench.make('base', { file: 'a', plain: 'b' })
    const acl = Buffer.from(
      '0200000001000600ffffffff020006000500000004000400ffffffff10000600ffffffff20000000ffffffff',
      'hex',
    )
    setxattr(`${base}/file`, 'system.posix_acl_access', acl)
    const maps = [
      { disk: 0, shown: 0, count: 1 },
      { disk: 5, shown: 1005, count: 1 },
    ]
    const out = await exported([base], { uidmap: maps, gidmap: maps })
    expect(inode(`${out}/file`)).not.toBe(inode(`${base}/file`))
    expect(inode(`${out}/plain`)).toBe(inode(`${base}/plain`))
  })
})

describe('owners and modes kept in an xattr', () => {
  const KEPT = 'user.containers.override_stat'

  it('are given to copies, and files without stay links', async () => {
    const base = bench.make('base', { program: 'x', plain: 'p', link: 'program', dir: { in: 'i' } })
    setxattr(base, KEPT, '0:0:0755:dir')
    setxattr(`${base}/program`, KEPT, '7:8:04755:file')
    setxattr(`${base}/link`, KEPT, '7:8:0777:symlink')
    setxattr(`${base}/dir`, KEPT, '9:9:0700:dir')
    const out = await exported([base], { override: 'xattr' })
    expect(statx(`${out}/program`)).toMatchObject({ uid: 7, gid: 8, mode: 0o104755, nlink: 1 })
    expect(fs.readlinkSync(`${out}/link`)).toBe('program')
    expect(statx(`${out}/dir`)).toMatchObject({ uid: 9, gid: 9, mode: 0o040700 })
    expect(inode(`${out}/plain`)).toBe(inode(`${base}/plain`))
    expect(listxattr(`${out}/program`)).toEqual([])
    const done = await exportTree(spec(base), bench.at('again'), { override: 'xattr', dryRun: true })
    expect(done).toMatchObject({ linked: 2, refusals: { override: 2 } })
  })
})

describe('names and depth', () => {
  it('carries names of any bytes and of 255 of them', async () => {
    const base = bench.make('base', {})
    const names = [Buffer.from('new\nline'), Buffer.from([0xff, 0xfe, 0x80]), Buffer.alloc(255, 'n')]
    for (const name of names) fs.writeFileSync(Buffer.concat([Buffer.from(`${base}/`), name]), 'x')
    const out = await exported([base])
    expect(compareTrees(base, out)).toEqual([])
    expect(
      fs
        .readdirSync(out, 'buffer')
        .map((b) => b.toString('hex'))
        .sort(),
    ).toEqual(names.map((b) => b.toString('hex')).sort())
  })

  it('goes deeper than PATH_MAX', async () => {
    const base = bench.make('base', {})
    const name = 'd'.repeat(200)
    const cwd = process.cwd()
    const levels = 40
    try {
      process.chdir(base)
      for (let i = 0; i < levels; i++) {
        fs.mkdirSync(name)
        process.chdir(name)
      }
      fs.writeFileSync('bottom', 'x')
    } finally {
      process.chdir(cwd)
    }
    const out = await exported([base])
    try {
      process.chdir(out)
      for (let i = 0; i < levels; i++) process.chdir(name)
      expect(content('bottom')).toBe('x')
    } finally {
      process.chdir(cwd)
    }
  })

  it('handles a directory of 20,000 files', { timeout: MANY_FILES_MS }, async () => {
    const base = bench.make('base', { many: {} })
    for (let i = 0; i < 20_000; i++) mknod(`${base}/many/${i}`, S_IFREG | 0o644)
    const out = bench.at('out')
    expect(await exportTree(spec(base), out)).toMatchObject({ linked: 20_000, directories: 2 })
    expect(fs.readdirSync(`${out}/many`)).toHaveLength(20_000)
  })
})
