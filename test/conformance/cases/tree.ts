import fs from 'node:fs'
import {
  EACCES,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
} from '../../../src/abi/linux.js'
import {
  asUser,
  deepEqual,
  equal,
  fails,
  join,
  list,
  lstat,
  mkdir,
  ok,
  perms,
  read,
  topic,
  withFd,
  withUmask,
  write,
} from '../kit.js'

const dirs = topic('directories', {
  'are made with mode less umask': (d) => {
    withUmask(0o027, () => fs.mkdirSync(join(d, 'sub'), 0o777))
    equal(perms(d, 'sub'), 0o750)
    deepEqual(list(d, 'sub'), [])
  },
  'are made with every permission where there is no umask': (d) => {
    withUmask(0, () => fs.mkdirSync(join(d, 'sub'), 0o777))
    equal(perms(d, 'sub'), 0o777)
  },
  'in the way are EEXIST': {
    prepare: (d) => {
      mkdir(d, 'sub')
      write(d, 'f')
      fs.symlinkSync('nowhere', join(d, 'l'))
    },
    run: (d) => {
      for (const name of ['sub', 'f', 'l']) fails(EEXIST, () => fs.mkdirSync(join(d, name)))
    },
  },
  'nested deep are made, filled and removed': (d) => {
    const deep = Array.from({ length: 60 }, (_, i) => `level${i}`).join('/')
    fs.mkdirSync(join(d, deep), { recursive: true })
    write(d, `${deep}/f`)
    equal(read(d, `${deep}/f`), `${deep}/f`)
    fs.rmSync(join(d, 'level0'), { recursive: true })
    deepEqual(list(d), [])
  },
  'empty are removed': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => {
      fs.rmdirSync(join(d, 'sub'))
      fails(ENOENT, () => lstat(d, 'sub'))
      deepEqual(list(d), [])
    },
  },
  'with entries are ENOTEMPTY': {
    prepare: (d) => write(mkdir(d, 'sub'), 'f'),
    run: (d) => {
      fails(ENOTEMPTY, () => fs.rmdirSync(join(d, 'sub')))
      equal(read(d, 'sub/f'), 'f')
    },
  },
  'emptied are removed': {
    prepare: (d) => {
      const sub = mkdir(d, 'sub')
      for (const name of ['a', 'b', 'c']) write(sub, name)
    },
    run: (d) => {
      for (const name of ['a', 'b', 'c']) fs.unlinkSync(join(d, 'sub', name))
      deepEqual(list(d, 'sub'), [])
      fs.rmdirSync(join(d, 'sub'))
      deepEqual(list(d), [])
    },
  },
  'removed with all they hold and made again are empty': {
    prepare: (d) => write(mkdir(mkdir(d, 'sub'), 'inner'), 'f'),
    run: (d) => {
      fs.rmSync(join(d, 'sub'), { recursive: true })
      fs.mkdirSync(join(d, 'sub'))
      deepEqual(list(d, 'sub'), [])
      fails(ENOENT, () => lstat(d, 'sub/inner'))
      fs.mkdirSync(join(d, 'sub/inner'))
      deepEqual(list(d, 'sub/inner'), [])
    },
  },
  'are not unlinked, files not rmdired': {
    prepare: (d) => {
      mkdir(d, 'sub')
      write(d, 'f')
    },
    run: (d) => {
      fails(EISDIR, () => fs.unlinkSync(join(d, 'sub')))
      fails(ENOTDIR, () => fs.rmdirSync(join(d, 'f')))
    },
  },
  'have a link count of 1, or 2 and one a child': {
    prepare: (d) => {
      const sub = mkdir(d, 'sub')
      mkdir(sub, 'a')
      write(sub, 'f')
    },
    run: (d) => {
      const count = (n: number): boolean => [1, n].includes(Number(lstat(d, 'sub').nlink))
      ok(count(3))
      mkdir(d, 'sub/b')
      ok(count(4))
      fs.rmdirSync(join(d, 'sub/a'))
      ok(count(3))
    },
  },
  'removed while they are the cwd give ENOENT for new names': (d) => {
    const cwd = process.cwd()
    const gone = mkdir(d, 'gone')
    process.chdir(gone)
    try {
      fs.rmdirSync(gone)
      fails(ENOENT, () => fs.writeFileSync('f', 'x'))
      fails(ENOENT, () => fs.mkdirSync('g'))
      deepEqual(fs.readdirSync('.'), [])
    } finally {
      process.chdir(cwd)
    }
  },
  'of a removed lower directory as cwd are empty too': {
    prepare: (d) => void mkdir(d, 'gone'),
    run: (d) => {
      const cwd = process.cwd()
      process.chdir(join(d, 'gone'))
      try {
        fs.rmdirSync(join(d, 'gone'))
        fails(ENOENT, () => fs.writeFileSync('f', 'x'))
        deepEqual(fs.readdirSync('.'), [])
      } finally {
        process.chdir(cwd)
      }
    },
  },
  'end in a slash only when they are directories': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      fails(ENOTDIR, () => fs.lstatSync(`${join(d, 'f')}/`))
      fails(EINVAL, () => fs.rmdirSync(`${d}/.`))
    },
  },
  'without search permission hide their entries': {
    needs: 'root',
    prepare: (d) => {
      const sub = mkdir(d, 'sub')
      write(sub, 'f', 'x')
      fs.chmodSync(sub, 0o644)
    },
    run: (d) =>
      asUser(1234, 1234, () => {
        fails(EACCES, () => read(d, 'sub/f'))
        deepEqual(fs.readdirSync(join(d, 'sub')), ['f'])
      }),
  },
})

const unlink = topic('unlink', {
  'removes the name': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      fs.unlinkSync(join(d, 'f'))
      fails(ENOENT, () => lstat(d, 'f'))
      fails(ENOENT, () => fs.unlinkSync(join(d, 'f')))
      deepEqual(list(d), [])
    },
  },
  'keeps an open file whole': {
    prepare: (d) => write(d, 'f', 'abcdef', 0o640),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fs.unlinkSync(join(d, 'f'))
        deepEqual(list(d), [])
        equal(fs.fstatSync(fd).nlink, 0)
        fs.ftruncateSync(fd, 4)
        fs.fchmodSync(fd, 0o600)
        fs.futimesSync(fd, 5, 6)
        fs.writeSync(fd, 'XY', 1)
        const st = fs.fstatSync(fd)
        equal(st.size, 4)
        equal(st.mode & 0o7777, 0o600)
        const b = Buffer.alloc(10)
        equal(b.toString('latin1', 0, fs.readSync(fd, b, 0, 10, 0)), 'aXYd')
      }),
  },
  'keeps a file open for reading alone': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        fs.unlinkSync(join(d, 'f'))
        equal(fs.fstatSync(fd).nlink, 0)
        equal(fs.readFileSync(fd, 'latin1'), 'abc')
        fs.fchmodSync(fd, 0o600)
        equal(fs.fstatSync(fd).mode & 0o7777, 0o600)
      }),
  },
  'leaves a file that /proc can open again': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        fs.unlinkSync(join(d, 'f'))
        withFd(`/proc/self/fd/${fd}`, O_RDWR, (again) => {
          fs.writeSync(again, 'Z', 1)
          equal(fs.fstatSync(again).ino, fs.fstatSync(fd).ino)
        })
        equal(fs.readFileSync(fd, 'latin1'), 'aZc')
      }),
  },
  'lets a new file take the name beside the open one': {
    prepare: (d) => write(d, 'f', 'old'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fs.unlinkSync(join(d, 'f'))
        write(d, 'f', 'new')
        equal(fs.readFileSync(fd, 'latin1'), 'old')
        equal(read(d, 'f'), 'new')
        ok(BigInt(fs.fstatSync(fd).ino) !== lstat(d, 'f').ino)
      }),
  },
  'is refused in a sticky directory of others': {
    needs: 'root',
    prepare: (d) => {
      const sub = mkdir(d, 'sticky', 0o1777)
      for (const [name, uid] of [
        ['theirs', 1000],
        ['mine', 1234],
      ] as const) {
        write(sub, name, name, 0o666)
        fs.chownSync(join(sub, name), uid, uid)
      }
    },
    run: (d) =>
      asUser(1234, 1234, () => {
        const at = (name: string): string => join(d, 'sticky', name)
        fails(EPERM, () => fs.unlinkSync(at('theirs')))
        fails(EPERM, () => fs.renameSync(at('theirs'), at('other')))
        fails(EPERM, () => fs.renameSync(at('mine'), at('theirs')))
        fs.unlinkSync(at('mine'))
        deepEqual(fs.readdirSync(join(d, 'sticky')), ['theirs'])
      }),
  },
})

const links = topic('links', {
  'share data, attributes and count': {
    prepare: (d) => write(d, 'a', 'abc'),
    run: (d) => {
      fs.linkSync(join(d, 'a'), join(d, 'b'))
      equal(lstat(d, 'a').nlink, 2n)
      equal(lstat(d, 'a').ino, lstat(d, 'b').ino)
      fs.appendFileSync(join(d, 'b'), 'd')
      equal(read(d, 'a'), 'abcd')
      fs.chmodSync(join(d, 'a'), 0o600)
      equal(perms(d, 'b'), 0o600)
      fs.unlinkSync(join(d, 'a'))
      equal(lstat(d, 'b').nlink, 1n)
      equal(read(d, 'b'), 'abcd')
    },
  },
  'made before stay together through a write': {
    prepare: (d) => {
      write(d, 'a', 'abc')
      fs.linkSync(join(d, 'a'), join(d, 'b'))
      fs.linkSync(join(d, 'a'), join(mkdir(d, 'sub'), 'c'))
    },
    run: (d) => {
      equal(lstat(d, 'a').nlink, 3n)
      equal(lstat(d, 'a').ino, lstat(d, 'sub/c').ino)
      fs.appendFileSync(join(d, 'b'), 'X')
      for (const name of ['a', 'b', 'sub/c']) equal(read(d, name), 'abcX')
      equal(lstat(d, 'a').ino, lstat(d, 'b').ino)
      equal(lstat(d, 'sub/c').nlink, 3n)
    },
  },
  'made before count down as names go': {
    prepare: (d) => {
      write(d, 'a', 'abc')
      fs.linkSync(join(d, 'a'), join(d, 'b'))
    },
    run: (d) => {
      fs.unlinkSync(join(d, 'a'))
      equal(lstat(d, 'b').nlink, 1n)
      fs.appendFileSync(join(d, 'b'), 'd')
      equal(read(d, 'b'), 'abcd')
      equal(lstat(d, 'b').nlink, 1n)
    },
  },
  'to directories are EPERM': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => fails(EPERM, () => fs.linkSync(join(d, 'sub'), join(d, 'b'))),
  },
  'over a name are EEXIST': {
    prepare: (d) => {
      write(d, 'a')
      write(d, 'b')
    },
    run: (d) => fails(EEXIST, () => fs.linkSync(join(d, 'a'), join(d, 'b'))),
  },
  'to a removed name are ENOENT, over it fine': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) => {
      fs.unlinkSync(join(d, 'b'))
      fails(ENOENT, () => fs.linkSync(join(d, 'b'), join(d, 'c')))
      fs.linkSync(join(d, 'a'), join(d, 'b'))
      equal(read(d, 'b'), 'A')
      deepEqual(list(d), ['a', 'b'])
    },
  },
  'to a symlink name the symlink': {
    prepare: (d) => fs.symlinkSync('target', join(d, 'l')),
    run: (d) => {
      fs.linkSync(join(d, 'l'), join(d, 'm'))
      equal(fs.readlinkSync(join(d, 'm')), 'target')
      equal(lstat(d, 'm').nlink, 2n)
    },
  },
})

const symlinks = topic('symlinks', {
  'give their target back': (d) => {
    for (const target of ['x', '../up/../and/down', '/absolute', ' with space\nand newline']) {
      fs.symlinkSync(target, join(d, 'l'))
      equal(fs.readlinkSync(join(d, 'l')), target)
      equal(lstat(d, 'l').size, BigInt(Buffer.byteLength(target)))
      equal(perms(d, 'l'), 0o777)
      fs.unlinkSync(join(d, 'l'))
    }
  },
  'hold 4095 bytes': {
    prepare: (d) => fs.symlinkSync('t'.repeat(4095), join(d, 'before')),
    run: (d) => {
      fs.symlinkSync('u'.repeat(4095), join(d, 'now'))
      equal(fs.readlinkSync(join(d, 'before')), 't'.repeat(4095))
      equal(fs.readlinkSync(join(d, 'now')), 'u'.repeat(4095))
    },
  },
  'over a name are EEXIST': {
    prepare: (d) => write(d, 'f'),
    run: (d) => fails(EEXIST, () => fs.symlinkSync('x', join(d, 'f'))),
  },
  'are followed within the mount': {
    prepare: (d) => {
      write(mkdir(d, 'sub'), 'f', 'deep')
      fs.symlinkSync('sub', join(d, 'dir'))
      fs.symlinkSync('dir/f', join(d, 'file'))
    },
    run: (d) => {
      equal(read(d, 'file'), 'deep')
      deepEqual(list(d, 'dir'), ['f'])
      fs.writeFileSync(join(d, 'file'), 'new')
      equal(read(d, 'sub/f'), 'new')
    },
  },
  'are replaced by rename': {
    prepare: (d) => {
      fs.symlinkSync('one', join(d, 'a'))
      fs.symlinkSync('two', join(d, 'b'))
    },
    run: (d) => {
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      equal(fs.readlinkSync(join(d, 'b')), 'one')
      deepEqual(list(d), ['b'])
    },
  },
  'have no readlink when they are none': {
    prepare: (d) => write(d, 'f'),
    run: (d) => fails(EINVAL, () => fs.readlinkSync(join(d, 'f'))),
  },
  'have times and an owner of their own': {
    prepare: (d) => {
      write(d, 'f')
      fs.symlinkSync('f', join(d, 'l'))
      fs.utimesSync(join(d, 'f'), 50, 50)
    },
    run: (d) => {
      fs.lutimesSync(join(d, 'l'), 100, 200)
      equal(lstat(d, 'l').mtimeMs, 200_000n)
      equal(lstat(d, 'f').mtimeMs, 50_000n)
      fs.lchownSync(join(d, 'l'), process.getuid?.() ?? 0, process.getgid?.() ?? 0)
      equal(fs.readlinkSync(join(d, 'l')), 'f')
    },
  },
})

const directoryFsync = topic('directories opened', {
  'are refused for creation': (d) => fails(EISDIR, () => fs.openSync(d, O_CREAT | O_RDWR)),
  'can be synced': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => {
      write(d, 'sub/f')
      withFd(join(d, 'sub'), O_RDONLY | O_DIRECTORY, (fd) => fs.fsyncSync(fd))
    },
  },
})

export const tree = [...dirs, ...unlink, ...links, ...symlinks, ...directoryFsync]
