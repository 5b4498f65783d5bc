/** Traps of files: hard links, inode numbers, copy-up, handles, caches. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import {
  EIO,
  ENOSPC,
  FALLOC_FL_KEEP_SIZE,
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from '../../../src/abi/linux.js'
import { bind, cstr, result } from '../../../src/sys/libc.js'
import {
  alldents,
  copyFileRange,
  fallocate,
  futimens,
  getxattr,
  Mapping,
  setxattr,
  statx,
} from '../../support/sys.js'
import {
  deepEqual,
  equal,
  exists,
  fails,
  list,
  mkdir,
  ok,
  type Place,
  perms,
  read,
  stat,
  type Traps,
  withFd,
  write,
  xattr,
} from '../trap.js'

const MIB = 1024 * 1024

/** Mounts a tmpfs of so many bytes; gone with its directory. Takes root, of a namespace at least. */
const tmpfs = (dir: string, bytes: number): void => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=755`, 'tmpfs', mkdir(dir)], {
    timeout: 30_000,
  })
}
const umount = (dir: string): void => {
  execFileSync('umount', [dir], { timeout: 30_000 })
}

/** What a copy-up has to keep. */
function facts(file: string): Record<string, unknown> {
  const { mode, uid, gid, size, mtime, mtimeNs, rdev } = statx(file)
  return { mode, uid, gid, size, mtime, mtimeNs, rdev }
}

/** Runs a change that copies up and asserts that the parent's times are as before. */
function keepsParent(dir: string, change: () => void): void {
  const before = statx(dir)
  change()
  const after = statx(dir)
  deepEqual([after.mtime, after.mtimeNs], [before.mtime, before.mtimeNs])
}

const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')

export const files: Traps = {
  '6 hard links of a lower keep together or part cleanly, with their bytes': async (p) => {
    write(p.lower('a'), 'old')
    fs.linkSync(p.lower('a'), p.lower('b'))
    write(p.lower('c'), 'old')
    fs.linkSync(p.lower('c'), p.lower('d'))
    await p.mount()
    equal(stat(p.mnt('a')).nlink, 2n)
    equal(stat(p.mnt('a')).ino, stat(p.mnt('b')).ino)
    write(p.mnt('a'), 'AAAA')
    equal(read(p.mnt('b')), 'AAAA')
    write(p.mnt('b'), 'BB')
    equal(read(p.mnt('a')), 'BB')
    equal(stat(p.mnt('a')).ino, stat(p.mnt('b')).ino)
    equal(stat(p.mnt('b')).nlink, 2n)
    // Only one of these two names is known when the file is copied up.
    write(p.mnt('c'), 'CCCCC')
    equal(read(p.mnt('d')), 'CCCCC')
    await p.remount()
    deepEqual([read(p.mnt('a')), read(p.mnt('b'))], ['BB', 'BB'])
    equal(stat(p.mnt('a')).ino, stat(p.mnt('b')).ino)
    equal(stat(p.mnt('a')).nlink, 2n)
    deepEqual([read(p.mnt('c')), read(p.mnt('d'))], ['CCCCC', 'CCCCC'])
    fs.unlinkSync(p.mnt('a'))
    equal(stat(p.mnt('b')).nlink, 1n)
    equal(read(p.mnt('b')), 'BB')
    deepEqual([read(p.lower('a')), read(p.lower('c'))], ['old', 'old'])
  },

  '6 a hard link of a lower whose other name nobody looked at parts cleanly, or stays with index': async (
    p,
  ) => {
    write(p.lower('a'), 'old')
    fs.linkSync(p.lower('a'), p.lower('b'))
    await p.mount()
    write(p.mnt('a'), 'new')
    await p.remount()
    equal(read(p.mnt('a')), 'new')
    equal(read(p.mnt('b')), 'old')
    ok(stat(p.mnt('a')).ino !== stat(p.mnt('b')).ino)
    await p.unmount()
    await p.mount({ upper: mkdir(p.at('u2')), work: mkdir(p.at('w2')), index: true })
    write(p.mnt('a'), 'new')
    await p.unmount()
    await p.mount({ upper: p.at('u2'), work: p.at('w2'), index: true })
    deepEqual([read(p.mnt('b')), read(p.mnt('a'))], ['new', 'new'])
    equal(stat(p.mnt('a')).ino, stat(p.mnt('b')).ino)
    equal(stat(p.mnt('a')).nlink, 2n)
  },

  '7 link of a lower file copies it up and links the copy': async (p) => {
    write(p.lower('f'), 'content')
    await p.mount()
    const { ino } = stat(p.mnt('f'))
    fs.linkSync(p.mnt('f'), p.mnt('g'))
    deepEqual([stat(p.mnt('f')).nlink, stat(p.mnt('g')).nlink], [2n, 2n])
    deepEqual([stat(p.mnt('f')).ino, stat(p.mnt('g')).ino], [ino, ino])
    fs.appendFileSync(p.mnt('g'), '!')
    equal(read(p.mnt('f')), 'content!')
    await p.remount()
    deepEqual([read(p.mnt('f')), stat(p.mnt('f')).ino, stat(p.mnt('g')).ino], ['content!', ino, ino])
    equal(stat(p.upper('f')).nlink, 2n)
    equal(read(p.lower('f')), 'content')
  },

  '8 inode numbers stay through copy-up, rename and remount, and listings agree': async (p) => {
    mkdir(p.lower('d', 'sub'))
    mkdir(p.lowest('d', 'other'))
    for (const name of ['f', 'g', 'h']) write(p.lower('d', name))
    await p.mount()
    const numbers = (): Record<string, bigint> =>
      Object.fromEntries(
        ['', 'd', 'd/f', 'd/g', 'd/h', 'd/sub', 'd/other', 'd/new', 'd/made'].map((n) => [
          n,
          stat(p.mnt(n)).ino,
        ]),
      )
    const agree = (): void => {
      for (const dir of ['', 'd', 'd/sub']) {
        for (const { name, ino } of withFd(p.mnt(dir), 'r', (fd) => alldents(fd))) {
          // Above the mount's root is another filesystem.
          if (dir !== '' || name !== '..') equal(stat(p.mnt(dir, name)).ino, ino)
        }
      }
    }
    write(p.mnt('d', 'new'))
    fs.mkdirSync(p.mnt('d', 'made'))
    const before = numbers()
    agree()
    fs.appendFileSync(p.mnt('d', 'f'), 'x')
    fs.chmodSync(p.mnt('d', 'sub'), 0o700)
    fs.renameSync(p.mnt('d', 'g'), p.mnt('g'))
    fs.renameSync(p.mnt('g'), p.mnt('d', 'g'))
    deepEqual(numbers(), before)
    agree()
    await p.remount()
    agree()
    deepEqual(numbers(), before)
    const all = Object.values(numbers())
    equal(new Set(all).size, all.length)
  },

  '8 files of two filesystems with one number on disk show two': {
    as: ['root', 'userns'],
    run: async (p) => {
      tmpfs(p.lower(), MIB)
      tmpfs(p.lowest(), MIB)
      for (let i = 0; i < 20; i++) {
        write(p.lower(`a${i}`))
        write(p.lowest(`b${i}`))
      }
      await p.mount()
      const numbers = list(p.mnt()).map((name) => stat(p.mnt(name)).ino)
      equal(numbers.length, 40)
      equal(new Set(numbers).size, 40)
      await p.unmount()
      umount(p.lower())
      umount(p.lowest())
    },
  },

  '9 an open file lives on without a name, and nothing hidden takes its place': async (p) => {
    for (const name of ['lower', 'read']) write(p.lower(name), 'content')
    await p.mount()
    write(p.mnt('upper'), 'content')
    for (const name of ['lower', 'upper', 'read'])
      withFd(p.mnt(name), name === 'read' ? 'r' : 'r+', (fd) => {
        fs.unlinkSync(p.mnt(name))
        equal(fs.fstatSync(fd).nlink, 0)
        fs.fchmodSync(fd, 0o640)
        equal(fs.fstatSync(fd).mode & 0o777, 0o640)
        const file = `/proc/self/fd/${fd}`
        withFd(file, 'r+', (again) => {
          fs.writeSync(again, 'C', 0)
          fs.ftruncateSync(again, 4)
        })
        equal(fs.readFileSync(file, 'utf8'), 'Cont')
        equal(fs.fstatSync(fd).size, 4)
        write(p.mnt(name), 'new')
        equal(fs.readFileSync(file, 'utf8'), 'Cont')
        fs.unlinkSync(p.mnt(name))
      })
    deepEqual(list(p.mnt()), [])
    deepEqual(
      list(p.upper()).filter((name) => name.startsWith('.')),
      [],
    )
    deepEqual(p.leftovers(), [])
  },

  '10 truncation copies no data, and holes stay holes': async (p) => {
    write(p.lower('big'), Buffer.alloc(8 * MIB, 'x'))
    write(p.lower('big2'), Buffer.alloc(8 * MIB, 'x'))
    withFd(p.lower('sparse'), 'w', (fd) => {
      fs.writeSync(fd, 'end', 64 * MIB)
      fs.writeSync(fd, 'begin', 0)
    })
    await p.mount()
    fs.closeSync(fs.openSync(p.mnt('big'), O_WRONLY | O_TRUNC))
    truncate(p.mnt('big2'), 0)
    equal(p.engine('copiedBytes'), 0)
    deepEqual([stat(p.mnt('big')).size, stat(p.mnt('big2')).size], [0n, 0n])
    withFd(p.mnt('sparse'), 'r+', (fd) => fs.writeSync(fd, 'B', 0))
    const { size, blocks } = stat(p.upper('sparse'))
    equal(size, BigInt(64 * MIB + 3))
    ok(blocks * 512n < BigInt(MIB), `${blocks} blocks`)
    equal(
      withFd(p.mnt('sparse'), 'r', (fd) => readAt(fd, 5, 0)),
      'Begin',
    )
    equal(
      withFd(p.mnt('sparse'), 'r', (fd) => readAt(fd, 9, 64 * MIB)),
      'end',
    )
  },

  '11 descriptors and mappings opened for reading see what is written after copy-up': async (p) => {
    write(p.lower('f'), Buffer.alloc(8192, 'o'))
    await p.mount()
    withFd(p.mnt('f'), O_RDONLY, (fd) => {
      const mapping = new Mapping(fd, 8192, false)
      equal(String.fromCharCode(mapping.bytes[0] as number), 'o')
      withFd(p.mnt('f'), 'r+', (writer) => {
        fs.writeSync(writer, 'NEW', 0)
        fs.writeSync(writer, 'NEW', 5000)
        equal(readAt(fd, 4, 0), 'NEWo')
        equal(readAt(fd, 4, 5000), 'NEWo')
        equal(mapping.bytes.toString('latin1', 0, 4), 'NEWo')
        equal(mapping.bytes.toString('latin1', 5000, 5004), 'NEWo')
        fs.writeSync(writer, 'again', 8192)
      })
      equal(readAt(fd, 9, 8192), 'again')
      mapping.unmap()
    })
  },

  '12 copy-up keeps owner, mode, times, xattrs, capabilities, and the times of the directory': async (p) => {
    mkdir(p.lower('d'))
    const prepare = (name: string): string => p.lower('d', name)
    write(prepare('file'))
    fs.chmodSync(prepare('file'), 0o6751)
    setxattr(prepare('file'), 'user.text', 'value')
    if (p.root) {
      fs.chownSync(prepare('file'), 1234, 5678)
      fs.chmodSync(prepare('file'), 0o6751)
      setxattr(prepare('file'), 'security.capability', capability)
      setxattr(prepare('file'), 'trusted.more', 'kept')
    }
    fs.symlinkSync('some/target', prepare('link'))
    for (const name of ['file', 'link']) fs.lutimesSync(prepare(name), 1e9, 1e9 + 0.25)
    const long = ['x'.repeat(252), 'y'.repeat(255)]
    for (const name of long) write(prepare(name))
    fs.utimesSync(p.lower('d'), 1e9, 1e9)
    await p.mount()
    const before = facts(p.mnt('d', 'file'))
    // A setattr that sets what is there.
    keepsParent(p.mnt('d'), () => fs.chmodSync(p.mnt('d', 'file'), 0o6751))
    ok(exists(p.upper('d', 'file')))
    deepEqual(facts(p.mnt('d', 'file')), before)
    deepEqual(facts(p.upper('d', 'file')), before)
    equal(xattr(p.upper('d', 'file'), 'user.text'), 'value')
    if (p.root) {
      equal(getxattr(p.upper('d', 'file'), 'security.capability').toString('hex'), capability.toString('hex'))
      equal(xattr(p.mnt('d', 'file'), 'trusted.more'), 'kept')
    }
    const link = facts(p.mnt('d', 'link'))
    fs.linkSync(p.mnt('d', 'link'), p.mnt('link'))
    deepEqual(facts(p.upper('d', 'link')), link)
    equal(fs.readlinkSync(p.upper('d', 'link')), 'some/target')
    for (const name of long) keepsParent(p.mnt('d'), () => fs.appendFileSync(p.mnt('d', name), '!'))
    for (const name of long) equal(read(p.upper('d', name)), `${name}!`)
    const directory = statx(p.mnt('d'))
    deepEqual([directory.mtime, directory.mtimeNs], [1e9, 0])
    deepEqual(p.leftovers(), [])
  },

  '12 a copy-up that fails leaves the file as it was': {
    as: ['root', 'userns'],
    run: async (p) => {
      write(p.lower('big'), Buffer.alloc(3 * MIB, 'x'))
      fs.chmodSync(p.lower('big'), 0o640)
      mkdir(p.lower('d'))
      const small = p.at('small')
      tmpfs(small, 2 * MIB)
      await p.mount({ upper: mkdir(p.at('small', 'upper')), work: mkdir(p.at('small', 'work')) })
      const before = facts(p.mnt('big'))
      fails(ENOSPC, () => withFd(p.mnt('big'), 'r+', () => {}))
      fails(ENOSPC, () => fs.renameSync(p.mnt('big'), p.mnt('d', 'big')))
      fails(ENOSPC, () => fs.linkSync(p.mnt('big'), p.mnt('link')))
      deepEqual(facts(p.mnt('big')), before)
      equal(fs.readFileSync(p.mnt('big')).equals(fs.readFileSync(p.lower('big'))), true)
      deepEqual(list(p.mnt()), ['big', 'd'])
      equal(exists(p.at('small', 'upper', 'big')), false)
      deepEqual(list(p.at('small', 'work', 'work')), [])
      write(p.mnt('other'), 'still works')
      fs.closeSync(fs.openSync(p.mnt('big'), O_WRONLY | O_TRUNC))
      equal(stat(p.mnt('big')).size, 0n)
      await p.unmount()
      umount(small)
    },
  },

  '13 with a writeback cache sizes are not stale and appends land at the end': async (p) => {
    write(p.lower('f'), 'lower')
    await p.mount({ writeback: 'on', passthrough: 'off' })
    withFd(p.mnt('f'), O_WRONLY | O_APPEND, (a) =>
      withFd(p.mnt('f'), O_WRONLY | O_APPEND, (b) => {
        for (let i = 0; i < 100; i++) fs.writeSync(i % 2 === 0 ? a : b, `${i},`)
        equal(stat(p.mnt('f')).size, BigInt(read(p.mnt('f')).length))
      }),
    )
    equal(read(p.mnt('f')), `lower${Array.from({ length: 100 }, (_, i) => `${i},`).join('')}`)
    withFd(p.mnt('f'), 'r+', (fd) => {
      fs.writeSync(fd, 'x'.repeat(10_000), 0)
      fs.truncateSync(p.mnt('f'), 5)
      equal(fs.fstatSync(fd).size, 5)
      fs.writeSync(fd, 'y', 9)
    })
    equal(read(p.mnt('f')), 'xxxxx\0\0\0\0y')
    // What is read-write by mode but opened for writing alone.
    fs.chmodSync(p.mnt('f'), 0o200)
    withFd(p.mnt('f'), 'a', (fd) => fs.writeSync(fd, 'z'))
    fs.chmodSync(p.mnt('f'), 0o600)
    await p.remount()
    equal(read(p.mnt('f')), 'xxxxx\0\0\0\0yz')
    equal(read(p.upper('f')), 'xxxxx\0\0\0\0yz')
  },

  '14 write, truncate and chown take set-id bits and capabilities away': async (p) => {
    const make = (name: string, mode: number): void => {
      write(p.lower(name))
      if (p.root) setxattr(p.lower(name), 'security.capability', capability)
      fs.chmodSync(p.lower(name), mode)
    }
    for (const name of ['write', 'truncate', 'opened', 'chown']) make(name, 0o6755)
    await p.mount()
    const changes: Record<string, () => void> = {
      write: () => fs.appendFileSync(p.mnt('write'), 'x'),
      truncate: () => fs.truncateSync(p.mnt('truncate'), 2),
      opened: () => fs.closeSync(fs.openSync(p.mnt('opened'), O_WRONLY | O_TRUNC)),
    }
    for (const [name, change] of Object.entries(changes)) {
      asMortal(p, name, change)
      equal(perms(p.mnt(name)), 0o755)
      equal(perms(p.upper(name)), 0o755)
      equal(xattr(p.upper(name), 'security.capability'), undefined)
    }
    if (!p.root) return
    fs.chownSync(p.mnt('chown'), 12, 34)
    equal(perms(p.mnt('chown')), 0o755)
    equal(xattr(p.mnt('chown'), 'security.capability'), undefined)
  },

  '29 what acts on a descriptor acts on that one, whatever the mode has become': async (p) => {
    write(p.lower('lower'), 'lower')
    await p.mount()
    const use = (fd: number): void => {
      fs.writeSync(fd, 'hello, world')
      fs.ftruncateSync(fd, 5)
      fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8192)
      equal(copyFileRange(fd, 0, fd, 5, 5), 5)
      futimens(fd, 7, 0, 8, 9)
      equal(fs.fstatSync(fd).size, 10)
      equal(readAt(fd, 20, 0), 'hellohello')
    }
    withFd(p.mnt('made'), O_RDWR | O_CREAT | O_EXCL, use, 0o400)
    equal(perms(p.mnt('made')), 0o400)
    withFd(p.mnt('lower'), 'r+', (fd) => {
      fs.chmodSync(p.mnt('lower'), 0)
      use(fd)
      fs.chmodSync(p.mnt('lower'), 0o600)
    })
    for (const name of ['made', 'lower']) equal(read(p.mnt(name)), 'hellohello')
    fails([EIO, 9], () => withFd(p.mnt('made'), 'r', (fd) => fs.writeSync(fd, 'x')))
  },
}

const truncate64 = bind('int truncate64(const void *, int64_t)')

/** truncate(2): fs.truncateSync opens the file first. */
const truncate = (file: string, size: number): void => equal(result(truncate64(cstr(file), size)), 0)

function readAt(fd: number, length: number, pos: number): string {
  const dst = Buffer.alloc(length)
  return dst.toString('latin1', 0, fs.readSync(fd, dst, 0, length, pos))
}

/** Runs a change of a file as its owner without privileges: true root acts as somebody else for a while. */
function asMortal(p: Place, name: string, change: () => void): void {
  if (!p.root) {
    change()
    return
  }
  const mode = perms(p.mnt(name))
  const caps = getxattr(p.mnt(name), 'security.capability')
  fs.chownSync(p.mnt(name), 12345, 12345)
  fs.chmodSync(p.mnt(name), mode)
  setxattr(p.mnt(name), 'security.capability', caps)
  process.setgroups?.([])
  process.setegid?.(12345)
  process.seteuid?.(12345)
  try {
    change()
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
}
