/** Traps of names: whiteouts, opaque directories, renames, listings. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import {
  EEXIST,
  ENOENT,
  EPERM,
  EXDEV,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
} from '../../../src/abi/linux.js'
import { alldents, getdents, mknod, renameat2, seekdir, setxattr, statx } from '../../support/sys.js'
import {
  deepEqual,
  equal,
  exists,
  fails,
  isWhiteout,
  list,
  mkdir,
  ok,
  read,
  stat,
  type Traps,
  withFd,
  write,
  xattr,
} from '../trap.js'

export const names: Traps = {
  '1 mkdir over a whiteout shows nothing old, and only such a directory is marked opaque': async (p) => {
    mkdir(p.lower('d', 'deep'))
    write(p.lower('d', 'old'))
    write(p.lower('file'))
    await p.mount()
    fs.rmSync(p.mnt('d'), { recursive: true })
    fs.unlinkSync(p.mnt('file'))
    for (const dir of ['d', 'file', 'new']) fs.mkdirSync(p.mnt(dir))
    for (const dir of ['d', 'file', 'new']) deepEqual(list(p.mnt(dir)), [])
    await p.remount()
    for (const dir of ['d', 'file', 'new']) deepEqual(list(p.mnt(dir)), [])
    fs.mkdirSync(p.mnt('d', 'deep'))
    deepEqual(list(p.mnt('d', 'deep')), [])
    equal(xattr(p.upper('d'), `${p.namespace}.overlay.opaque`), 'y')
    equal(xattr(p.upper('file'), `${p.namespace}.overlay.opaque`), 'y')
    equal(xattr(p.upper('new'), `${p.namespace}.overlay.opaque`), undefined)
    deepEqual(p.leftovers(), [])
  },

  '2 opaque directories hold no whiteouts, and an opaque ancestor cuts all that is beneath': async (p) => {
    mkdir(p.lowest('a', 'b', 'c'))
    write(p.lowest('a', 'b', 'c', 'old'))
    mkdir(p.lower('a', 'b', 'c'))
    write(p.lower('a', 'b', 'c', 'new'))
    setxattr(p.lower('a'), `${p.namespace}.overlay.opaque`, 'y')
    mkdir(p.lower('d'))
    write(p.lower('d', 'x'))
    await p.mount()
    fails(ENOENT, () => fs.statSync(p.mnt('a', 'b', 'c', 'old')))
    deepEqual(list(p.mnt('a', 'b', 'c')), ['new'])
    write(p.mnt('a', 'b', 'c', 'old'))
    fs.unlinkSync(p.mnt('a', 'b', 'c', 'old'))
    equal(exists(p.upper('a', 'b', 'c', 'old')), false)
    fs.rmSync(p.mnt('d'), { recursive: true })
    fs.mkdirSync(p.mnt('d'))
    write(p.mnt('d', 'x'))
    fs.unlinkSync(p.mnt('d', 'x'))
    deepEqual(fs.readdirSync(p.upper('d')), [])
  },

  '3 rmdir of a directory that holds only whiteouts succeeds': async (p) => {
    for (const dir of ['d', 'e', 'f']) {
      mkdir(p.lower(dir))
      write(p.lower(dir, 'x'))
      write(p.lower(dir, 'y'))
    }
    await p.mount()
    for (const dir of ['d', 'e', 'f']) for (const name of ['x', 'y']) fs.unlinkSync(p.mnt(dir, name))
    ok(isWhiteout(p.upper('d', 'x')))
    fs.rmdirSync(p.mnt('d'))
    ok(isWhiteout(p.upper('d')))
    fs.mkdirSync(p.mnt('new'))
    fs.renameSync(p.mnt('new'), p.mnt('e'))
    deepEqual(list(p.mnt('e')), [])
    await p.remount()
    deepEqual(list(p.mnt()), ['e', 'f'])
    deepEqual(list(p.mnt('e')), [])
    fs.rmdirSync(p.mnt('f'))
    fs.rmdirSync(p.mnt('e'))
    await p.remount()
    deepEqual(list(p.mnt()), [])
    deepEqual(p.leftovers(), [])
  },

  '4 a merged directory is renamed whole, or not at all': async (p) => {
    mkdir(p.lower('d', 'sub'))
    write(p.lower('d', 'sub', 'f'))
    await p.mount()
    write(p.mnt('d', 'new'))
    if (p.root) {
      fs.renameSync(p.mnt('d'), p.mnt('e'))
      equal(xattr(p.upper('e'), 'trusted.overlay.redirect'), '/d')
      ok(isWhiteout(p.upper('d')))
      await p.remount()
      deepEqual(list(p.mnt()), ['e'])
      deepEqual(list(p.mnt('e')), ['new', 'sub'])
      equal(read(p.mnt('e', 'sub', 'f')), 'f')
    } else {
      // A redirect that an unprivileged user could write would lead a privileged mount astray.
      fails(EXDEV, () => fs.renameSync(p.mnt('d'), p.mnt('e')))
      deepEqual(list(p.mnt()), ['d'])
      execFileSync('mv', [p.mnt('d'), p.mnt('e')])
      await p.remount()
      deepEqual(list(p.mnt('e')), ['new', 'sub'])
    }
    fs.mkdirSync(p.mnt('pure'))
    fs.renameSync(p.mnt('pure'), p.mnt('purer'))
    equal(exists(p.upper('pure')), false)
    write(p.mnt('file'))
    fs.renameSync(p.mnt('file'), p.mnt('filer'))
    equal(exists(p.upper('file')), false)
  },

  '5 for NOREPLACE and EXCHANGE a whiteout is an absent name': async (p) => {
    for (const name of ['a', 'b', 'c', 'd']) write(p.lower(name))
    mkdir(p.lower('dir'))
    await p.mount()
    for (const name of ['b', 'd']) fs.unlinkSync(p.mnt(name))
    renameat2(p.mnt('a'), p.mnt('b'), RENAME_NOREPLACE)
    equal(read(p.mnt('b')), 'a')
    fails(EEXIST, () => renameat2(p.mnt('b'), p.mnt('c'), RENAME_NOREPLACE))
    fails(ENOENT, () => renameat2(p.mnt('b'), p.mnt('d'), RENAME_EXCHANGE))
    fs.rmdirSync(p.mnt('dir'))
    fs.mkdirSync(p.mnt('made'))
    renameat2(p.mnt('made'), p.mnt('dir'), RENAME_NOREPLACE)
    await p.remount()
    deepEqual(list(p.mnt()), ['b', 'c', 'dir'])
  },

  '20 link counts of directories are 1, or 2 and one for each subdirectory': async (p) => {
    mkdir(p.lower('d', 's1'))
    mkdir(p.lowest('d', 's2'))
    await p.mount()
    const count = (): void => {
      const subdirectories = list(p.mnt('d')).length
      const { nlink } = stat(p.mnt('d'))
      ok(
        nlink === 1n || nlink === BigInt(2 + subdirectories),
        `${nlink} links, ${subdirectories} subdirectories`,
      )
    }
    count()
    for (let i = 0; i < 5; i++) {
      fs.mkdirSync(p.mnt('d', 'new'))
      count()
      fs.rmdirSync(p.mnt('d', 'new'))
      count()
    }
    fs.rmdirSync(p.mnt('d', 's1'))
    count()
    await p.remount()
    count()
  },

  '22 names that begin with .wh. come back as they were, of 255 bytes too': async (p) => {
    const long = `.wh.${'x'.repeat(251)}`
    const wide = 'y'.repeat(255)
    write(p.lower('.wh.f'), '')
    write(p.lowest('f'))
    write(p.lowest(wide))
    await p.mount()
    deepEqual(list(p.mnt()), [wide])
    for (const name of ['.wh.mine', '.wh..wh..opq', long]) write(p.mnt(name), name)
    fs.mkdirSync(p.mnt('.wh.dir'))
    fs.unlinkSync(p.mnt(wide))
    write(p.mnt('f'), 'again')
    await p.remount()
    deepEqual(list(p.mnt()), ['.wh..wh..opq', '.wh.dir', '.wh.mine', long, 'f'].sort())
    equal(read(p.mnt(long)), long)
    await p.unmount()
    // A layer that declares the one form holds plain files by the other's names.
    const again = p.at('again')
    for (const dir of ['', 'upper', 'work']) mkdir(path.join(again, dir))
    await p.mount({ lower: [p.upper()], upper: path.join(again, 'upper'), work: path.join(again, 'work') })
    deepEqual(list(p.mnt()), ['.wh..wh..opq', '.wh.dir', '.wh.mine', long, 'f'].sort())
    await p.unmount()
    // In an upper whose form is .wh. files, such a name cannot be told from a mark.
    await p.mount({
      upper: mkdir(p.at('u3')),
      work: mkdir(p.at('w3')),
      whiteouts: 'oci',
      lower: [p.lowest()],
    })
    fails(EPERM, () => write(p.mnt('.wh.x')))
    fs.unlinkSync(p.mnt('f'))
    deepEqual(list(p.at('u3')), ['.wh.f'])
  },

  '27 a listing is one snapshot with cookies that last, whatever goes meanwhile': async (p) => {
    const all: string[] = []
    for (let i = 0; i < 600; i++) {
      const name = `file-${i}`
      all.push(name)
      write([p.lower, p.lowest, p.upper][i % 3]?.(name) ?? '', '')
      if (i % 7 === 0) write(p.lowest(name), '')
    }
    await p.mount()
    const seen: string[] = []
    const cookies: [bigint, string][] = []
    withFd(p.mnt(), 'r', (fd) => {
      let before = 0n
      for (let some = getdents(fd, 512); some.length > 0; some = getdents(fd, 512)) {
        for (const { name, next } of some) {
          if (name === '.' || name === '..') {
            before = next
            continue
          }
          seen.push(name)
          cookies.push([before, name])
          before = next
          if (seen.length % 2 === 0) fs.unlinkSync(p.mnt(name))
        }
      }
      deepEqual(seen.sort(), all.sort())
      // What is still there is found again at the cookie it had.
      for (const [cookie, name] of cookies.filter((_, i) => i % 50 === 0)) {
        seekdir(fd, cookie)
        equal(getdents(fd, 4096)[0]?.name, name)
      }
    })
    const left = withFd(p.mnt(), 'r', (fd) => alldents(fd).map(({ name }) => name))
    equal(new Set(left).size, left.length)
    equal(left.length, 302)
  },

  '28 names are bytes': async (p) => {
    const odd = Array.from({ length: 255 }, (_, i) => i + 1).filter((byte) => byte !== 0x2f)
    const file = (dir: string, name: number[]): Buffer =>
      Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name)])
    const one = odd.slice(0, 254)
    const latin1 = [0xe9, 0xff, 0x80]
    for (const name of [one, latin1]) fs.writeFileSync(file(p.lower(), name), 'lower')
    await p.mount()
    for (const name of [one, latin1]) {
      fs.appendFileSync(file(p.mnt(), name), ' and more')
      equal(fs.readFileSync(file(p.upper(), name), 'utf8'), 'lower and more')
    }
    fs.renameSync(file(p.mnt(), latin1), file(p.mnt(), [0xc3, 0x28, 0x0a]))
    fs.unlinkSync(file(p.mnt(), one))
    fs.mkdirSync(file(p.mnt(), one))
    await p.remount()
    const listed = fs
      .readdirSync(p.mnt(), 'buffer')
      .map((name) => name.toString('latin1'))
      .sort()
    deepEqual(listed, [Buffer.from(one).toString('latin1'), '\xc3(\n'].sort())
    equal(statx(file(p.mnt(), one).toString('latin1')).mode & S_IFMT, S_IFDIR)
  },

  '30 in a removed working directory nothing is listed and nothing made': async (p) => {
    mkdir(p.lower('d'))
    write(p.lower('d', 'x'))
    await p.mount()
    process.chdir(p.mnt('d'))
    try {
      fs.rmSync(p.mnt('d'), { recursive: true })
      fails(ENOENT, () => fs.writeFileSync('new', ''))
      fails(ENOENT, () => fs.mkdirSync('dir'))
      fails(ENOENT, () => fs.statSync('x'))
      equal(execFileSync('ls', ['-A']).toString(), '')
      fs.mkdirSync(p.mnt('d'))
      fails(ENOENT, () => fs.writeFileSync('new', ''))
      deepEqual(list(p.mnt('d')), [])
    } finally {
      process.chdir('/')
    }
  },

  '19 special files are never opened, and no device 0/0 is made by users': async (p) => {
    mknod(p.lower('fifo'), 0o010644)
    mknod(p.lower('socket'), 0o140644)
    if (p.root) mknod(p.lower('device'), S_IFCHR | 0o600, 0x0103)
    await p.mount()
    for (const name of ['fifo', 'socket', ...(p.root ? ['device'] : [])]) {
      const before = stat(p.mnt(name))
      fs.chmodSync(p.mnt(name), 0o640)
      fs.utimesSync(p.mnt(name), 5, 6)
      const after = stat(p.upper(name))
      equal(after.mode & 0o170000n, before.mode & 0o170000n)
      equal(after.rdev, before.rdev)
      equal(after.mtimeMs, 6000n)
      fs.renameSync(p.mnt(name), p.mnt(`${name}.moved`))
    }
    fails(EPERM, () => mknod(p.mnt('whiteout'), S_IFCHR | 0o600, 0))
    equal(exists(p.mnt('whiteout')), false)
  },
}
