import fs from 'node:fs'
import {
  EACCES,
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from '../../../src/abi/linux.js'
import {
  asMortal,
  deepEqual,
  equal,
  fails,
  giveToMortal,
  join,
  list,
  lstat,
  mkdir,
  ok,
  pattern,
  perms,
  read,
  topic,
  withFd,
  withUmask,
  write,
} from '../kit.js'

const create = topic('create', {
  'makes an empty file with mode less umask': (d) => {
    withUmask(0o027, () => fs.closeSync(fs.openSync(join(d, 'f'), O_CREAT | O_WRONLY, 0o666)))
    equal(perms(d, 'f'), 0o640)
    equal(lstat(d, 'f').size, 0n)
    equal(lstat(d, 'f').nlink, 1n)
    deepEqual(list(d), ['f'])
  },
  'gives every permission asked for where there is no umask': (d) => {
    withUmask(0, () => fs.closeSync(fs.openSync(join(d, 'f'), O_CREAT | O_WRONLY, 0o666)))
    equal(perms(d, 'f'), 0o666)
  },
  'keeps set-id and sticky bits asked for': (d) => {
    withUmask(0, () => fs.closeSync(fs.openSync(join(d, 'f'), O_CREAT | O_WRONLY, 0o4711)))
    equal(perms(d, 'f'), 0o4711)
  },
  'O_EXCL refuses an existing file': {
    prepare: (d) => write(d, 'f'),
    run: (d) => fails(EEXIST, () => fs.openSync(join(d, 'f'), O_CREAT | O_EXCL | O_WRONLY)),
  },
  'O_EXCL refuses a dangling symlink': {
    prepare: (d) => fs.symlinkSync('nowhere', join(d, 'l')),
    run: (d) => fails(EEXIST, () => fs.openSync(join(d, 'l'), O_CREAT | O_EXCL | O_WRONLY)),
  },
  'through a dangling symlink makes its target': {
    prepare: (d) => fs.symlinkSync('target', join(d, 'l')),
    run: (d) => {
      fs.writeFileSync(join(d, 'l'), 'x')
      equal(read(d, 'target'), 'x')
    },
  },
  'in a missing directory is ENOENT': (d) => fails(ENOENT, () => write(d, 'no/f')),
  'below a file is ENOTDIR': {
    prepare: (d) => write(d, 'f'),
    run: (d) => fails(ENOTDIR, () => write(d, 'f/g')),
  },
  'with a read-only mode can still be written by its descriptor': (d) => {
    withFd(join(d, 'f'), O_CREAT | O_EXCL | O_RDWR, (fd) => fs.writeSync(fd, 'abc'), 0o400)
    equal(perms(d, 'f'), 0o400)
    equal(lstat(d, 'f').size, 3n)
  },
  'after unlink of the same name makes a new file': {
    prepare: (d) => write(d, 'f', 'old', 0o600),
    run: (d) => {
      fs.unlinkSync(join(d, 'f'))
      withUmask(0o022, () => fs.writeFileSync(join(d, 'f'), 'new'))
      equal(read(d, 'f'), 'new')
      equal(perms(d, 'f'), 0o644)
      deepEqual(list(d), ['f'])
    },
  },
  'touches the mtime of the directory': {
    prepare: (d) => {
      const sub = mkdir(d, 'sub')
      fs.utimesSync(sub, 1000, 1000)
    },
    run: (d) => {
      write(d, 'sub/f')
      ok(lstat(d, 'sub').mtimeMs > 1_000_000n)
    },
  },
  'is refused in a directory without write permission': {
    needs: 'mortal',
    prepare: (d) => giveToMortal(mkdir(d, 'ro', 0o555)),
    run: (d) => asMortal(() => fails(EACCES, () => write(d, 'ro/f'))),
  },
  'of a name longer than 255 bytes is ENAMETOOLONG': (d) =>
    fails(ENAMETOOLONG, () => write(d, 'n'.repeat(256))),
})

const open = topic('open', {
  'of a missing file is ENOENT': (d) => fails(ENOENT, () => fs.openSync(join(d, 'f'), O_RDONLY)),
  'of a directory for writing is EISDIR': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => {
      fails(EISDIR, () => fs.openSync(join(d, 'sub'), O_WRONLY))
      fails(EISDIR, () => fs.openSync(join(d, 'sub'), O_RDWR))
    },
  },
  'O_DIRECTORY of a file is ENOTDIR': {
    prepare: (d) => write(d, 'f'),
    run: (d) => fails(ENOTDIR, () => fs.openSync(join(d, 'f'), O_DIRECTORY)),
  },
  'O_NOFOLLOW of a symlink is ELOOP': {
    prepare: (d) => {
      write(d, 'f')
      fs.symlinkSync('f', join(d, 'l'))
    },
    run: (d) => fails(ELOOP, () => fs.openSync(join(d, 'l'), O_NOFOLLOW)),
  },
  'of a symlink loop is ELOOP': {
    prepare: (d) => {
      fs.symlinkSync('b', join(d, 'a'))
      fs.symlinkSync('a', join(d, 'b'))
    },
    run: (d) => fails(ELOOP, () => fs.openSync(join(d, 'a'), O_RDONLY)),
  },
  'read-only refuses writes, write-only refuses reads': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) => {
      withFd(join(d, 'f'), O_RDONLY, (fd) => fails(EBADF, () => fs.writeSync(fd, 'x')))
      withFd(join(d, 'f'), O_WRONLY, (fd) => fails(EBADF, () => fs.readSync(fd, Buffer.alloc(1))))
    },
  },
  'O_TRUNC empties the file': {
    prepare: (d) => write(d, 'f', pattern(70000)),
    run: (d) => {
      withFd(join(d, 'f'), O_WRONLY | O_TRUNC, (fd) => equal(fs.fstatSync(fd).size, 0))
      equal(lstat(d, 'f').size, 0n)
      equal(read(d, 'f'), '')
      equal(perms(d, 'f'), 0o644)
    },
  },
  'O_RDONLY|O_TRUNC empties the file too': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) => {
      withFd(join(d, 'f'), O_RDONLY | O_TRUNC, (fd) => equal(fs.fstatSync(fd).size, 0))
      equal(read(d, 'f'), '')
    },
  },
  'O_CREAT of an existing file opens it as it is': {
    prepare: (d) => write(d, 'f', 'abc', 0o600),
    run: (d) => {
      withFd(join(d, 'f'), O_CREAT | O_RDWR, (fd) => equal(fs.fstatSync(fd).size, 3), 0o777)
      equal(perms(d, 'f'), 0o600)
    },
  },
  'O_PATH gives a descriptor for fstat only': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_PATH, (fd) => {
        equal(fs.fstatSync(fd).size, 3)
        fails(EBADF, () => fs.readSync(fd, Buffer.alloc(1)))
      }),
  },
  'checks the mode': {
    needs: 'mortal',
    prepare: (d) => {
      write(d, 'none', 'x', 0o000)
      write(d, 'read', 'x', 0o400)
      for (const name of ['none', 'read']) giveToMortal(join(d, name))
    },
    run: (d) =>
      asMortal(() => {
        fails(EACCES, () => fs.openSync(join(d, 'none'), O_RDONLY))
        fails(EACCES, () => fs.openSync(join(d, 'read'), O_WRONLY))
        fails(EACCES, () => fs.openSync(join(d, 'read'), O_RDWR))
        equal(read(d, 'read'), 'x')
      }),
  },
  'of a read-only file stays writable through a descriptor opened before chmod': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fs.fchmodSync(fd, 0o400)
        fs.writeSync(fd, 'X', 1)
        fs.ftruncateSync(fd, 2)
        equal(read(d, 'f'), 'aX')
        equal(perms(d, 'f'), 0o400)
      }),
  },
})

const data = topic('data', {
  'written is read back': {
    prepare: (d) => write(d, 'f', 'before'),
    run: (d) => {
      const bytes = pattern(300_001)
      fs.writeFileSync(join(d, 'f'), bytes)
      ok(fs.readFileSync(join(d, 'f')).equals(bytes))
      equal(lstat(d, 'f').size, 300_001n)
    },
  },
  'of a prepared file is whole': {
    prepare: (d) => write(d, 'f', pattern(1_500_000, 7)),
    run: (d) => ok(fs.readFileSync(join(d, 'f')).equals(pattern(1_500_000, 7))),
  },
  'overwritten in the middle keeps the rest': {
    prepare: (d) => write(d, 'f', pattern(200_000)),
    run: (d) => {
      const expected = pattern(200_000)
      withFd(join(d, 'f'), O_RDWR, (fd) => fs.writeSync(fd, 'HELLO', 100_000))
      expected.write('HELLO', 100_000)
      ok(fs.readFileSync(join(d, 'f')).equals(expected))
    },
  },
  'appended lands at the end whatever the offset': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) => {
      withFd(join(d, 'f'), O_WRONLY | O_APPEND, (fd) => {
        fs.writeSync(fd, 'd')
        fs.appendFileSync(join(d, 'f'), 'e')
        fs.writeSync(fd, 'f')
      })
      equal(read(d, 'f'), 'abcdef')
    },
  },
  'read past the end is nothing': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        equal(fs.readSync(fd, Buffer.alloc(10), 0, 10, 3), 0)
        equal(fs.readSync(fd, Buffer.alloc(10), 0, 10, 1), 2)
      }),
  },
  'seen by a reader opened before the writer': {
    prepare: (d) => write(d, 'f', 'old!'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (reader) => {
        const seen = (): string => {
          const b = Buffer.alloc(8)
          return b.toString('latin1', 0, fs.readSync(reader, b, 0, 8, 0))
        }
        equal(seen(), 'old!')
        withFd(join(d, 'f'), O_WRONLY, (writer) => fs.writeSync(writer, 'newer', 0))
        equal(seen(), 'newer')
      }),
  },
  'written with writev at odd places': (d) => {
    withFd(join(d, 'f'), O_CREAT | O_RDWR, (fd) => {
      fs.writevSync(fd, [Buffer.from('ab'), Buffer.alloc(5000, 'c'), Buffer.from('de')], 3)
    })
    equal(read(d, 'f'), `\0\0\0ab${'c'.repeat(5000)}de`)
  },
})

const truncate = topic('truncate', {
  'to shorter cuts': {
    prepare: (d) => write(d, 'f', pattern(10_000)),
    run: (d) => {
      fs.truncateSync(join(d, 'f'), 5)
      ok(fs.readFileSync(join(d, 'f')).equals(pattern(10_000).subarray(0, 5)))
    },
  },
  'to longer fills with zeros': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) => {
      fs.truncateSync(join(d, 'f'), 6)
      equal(read(d, 'f'), 'abc\0\0\0')
      equal(lstat(d, 'f').size, 6n)
    },
  },
  'then longer shows zeros, not old bytes': {
    prepare: (d) => write(d, 'f', 'x'.repeat(9000)),
    run: (d) => {
      fs.truncateSync(join(d, 'f'), 2)
      fs.truncateSync(join(d, 'f'), 9000)
      equal(read(d, 'f'), `xx${'\0'.repeat(8998)}`)
    },
  },
  'through a descriptor is seen by others': {
    prepare: (d) => write(d, 'f', 'abcdef'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fs.ftruncateSync(fd, 3)
        equal(lstat(d, 'f').size, 3n)
        equal(read(d, 'f'), 'abc')
      }),
  },
  'of a directory is EISDIR': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => fails(EISDIR, () => fs.truncateSync(join(d, 'sub'), 0)),
  },
  'of a read-only descriptor is EINVAL': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) => withFd(join(d, 'f'), O_RDONLY, (fd) => fails(EINVAL, () => fs.ftruncateSync(fd, 0))),
  },
  'changes mtime': {
    prepare: (d) => {
      write(d, 'f', 'abc')
      fs.utimesSync(join(d, 'f'), 1000, 1000)
    },
    run: (d) => {
      fs.truncateSync(join(d, 'f'), 1)
      ok(lstat(d, 'f').mtimeMs > 1_000_000n)
    },
  },
  'of a sparse terabyte': (d) => {
    fs.writeFileSync(join(d, 'f'), '')
    fs.truncateSync(join(d, 'f'), 2 ** 40)
    equal(lstat(d, 'f').size, 1n << 40n)
    withFd(join(d, 'f'), O_RDWR, (fd) => {
      fs.writeSync(fd, 'end', 2 ** 40 - 3)
      const b = Buffer.alloc(3)
      fs.readSync(fd, b, 0, 3, 2 ** 40 - 3)
      equal(b.toString(), 'end')
    })
    ok(lstat(d, 'f').blocks < 1000n)
  },
})

export const files = [...create, ...open, ...data, ...truncate]
