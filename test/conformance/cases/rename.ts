import fs from 'node:fs'
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  O_RDWR,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
} from '../../../src/abi/linux.js'
import { renameat2 } from '../../support/sys.js'
import { deepEqual, equal, fails, join, list, lstat, mkdir, ok, read, topic, withFd, write } from '../kit.js'

const plain = topic('rename', {
  'moves a file': {
    prepare: (d) => write(d, 'a', 'abc'),
    run: (d) => {
      const { ino } = lstat(d, 'a')
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      equal(read(d, 'b'), 'abc')
      equal(lstat(d, 'b').ino, ino)
      fails(ENOENT, () => lstat(d, 'a'))
      deepEqual(list(d), ['b'])
    },
  },
  'moves a file to another directory': {
    prepare: (d) => {
      write(mkdir(d, 'from'), 'f', 'abc')
      mkdir(d, 'to')
    },
    run: (d) => {
      fs.renameSync(join(d, 'from/f'), join(d, 'to/g'))
      deepEqual([list(d, 'from'), list(d, 'to')], [[], ['g']])
      equal(read(d, 'to/g'), 'abc')
      fs.rmdirSync(join(d, 'from'))
    },
  },
  'replaces a file': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) => {
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      equal(read(d, 'b'), 'A')
      deepEqual(list(d), ['b'])
    },
  },
  'replaces an open file, which lives on': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) =>
      withFd(join(d, 'b'), O_RDWR, (fd) => {
        fs.renameSync(join(d, 'a'), join(d, 'b'))
        equal(fs.fstatSync(fd).nlink, 0)
        fs.writeSync(fd, 'XY', 0)
        equal(fs.readFileSync(`/proc/self/fd/${fd}`, 'latin1'), 'XY')
        equal(read(d, 'b'), 'A')
      }),
  },
  'of an open file is followed by its descriptor': {
    prepare: (d) => write(d, 'a', 'abc'),
    run: (d) =>
      withFd(join(d, 'a'), O_RDWR, (fd) => {
        fs.renameSync(join(d, 'a'), join(d, 'b'))
        fs.writeSync(fd, 'Z', 0)
        equal(read(d, 'b'), 'Zbc')
        equal(fs.fstatSync(fd).nlink, 1)
      }),
  },
  'back and forth ends where it began': {
    prepare: (d) => write(d, 'a', 'abc'),
    run: (d) => {
      for (let i = 0; i < 5; i++) {
        fs.renameSync(join(d, 'a'), join(d, 'b'))
        fs.renameSync(join(d, 'b'), join(d, 'a'))
      }
      deepEqual(list(d), ['a'])
      equal(read(d, 'a'), 'abc')
    },
  },
  'to itself changes nothing': {
    prepare: (d) => write(d, 'a', 'abc'),
    run: (d) => {
      fs.renameSync(join(d, 'a'), join(d, 'a'))
      equal(read(d, 'a'), 'abc')
    },
  },
  'between two names of one file leaves both': {
    prepare: (d) => {
      write(d, 'a', 'abc')
      fs.linkSync(join(d, 'a'), join(d, 'b'))
    },
    run: (d) => {
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      deepEqual(list(d), ['a', 'b'])
      equal(lstat(d, 'a').nlink, 2n)
    },
  },
  'of a missing name is ENOENT': (d) => fails(ENOENT, () => fs.renameSync(join(d, 'a'), join(d, 'b'))),
  'between a file and a directory is refused': {
    prepare: (d) => {
      write(d, 'f')
      mkdir(d, 'sub')
    },
    run: (d) => {
      fails(EISDIR, () => fs.renameSync(join(d, 'f'), join(d, 'sub')))
      fails(ENOTDIR, () => fs.renameSync(join(d, 'sub'), join(d, 'f')))
    },
  },
  'of a directory into itself is EINVAL': {
    prepare: (d) => void mkdir(mkdir(d, 'sub'), 'inner'),
    run: (d) => {
      fails(EINVAL, () => fs.renameSync(join(d, 'sub'), join(d, 'sub/inner/x')))
      fails(ENOTEMPTY, () => fs.renameSync(join(d, 'sub/inner'), join(d, 'sub')))
    },
  },
  'of an empty directory made now': (d) => {
    mkdir(d, 'a')
    fs.renameSync(join(d, 'a'), join(d, 'b'))
    deepEqual(list(d), ['b'])
    write(d, 'b/f')
    deepEqual(list(d, 'b'), ['f'])
  },
  'of a full directory made now': (d) => {
    write(mkdir(mkdir(d, 'a'), 'inner'), 'f', 'abc')
    const { ino } = lstat(d, 'a/inner/f')
    fs.renameSync(join(d, 'a'), join(d, 'b'))
    equal(read(d, 'b/inner/f'), 'abc')
    equal(lstat(d, 'b/inner/f').ino, ino)
    fs.renameSync(join(d, 'b'), join(d, 'a'))
    deepEqual(list(d), ['a'])
    deepEqual(list(d, 'a'), ['inner'])
  },
  'of a prepared directory': {
    prepare: (d) => write(mkdir(mkdir(d, 'a'), 'inner'), 'f', 'abc'),
    run: (d) => {
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      deepEqual(list(d), ['b'])
      deepEqual(list(d, 'b'), ['inner'])
      equal(read(d, 'b/inner/f'), 'abc')
      write(d, 'b/inner/g')
      deepEqual(list(d, 'b/inner'), ['f', 'g'])
      mkdir(d, 'a')
      deepEqual(list(d, 'a'), [])
    },
  },
  'of a directory over an empty one': {
    prepare: (d) => void mkdir(d, 'b'),
    run: (d) => {
      write(mkdir(d, 'a'), 'f')
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      deepEqual(list(d), ['b'])
      deepEqual(list(d, 'b'), ['f'])
    },
  },
  'of a directory over an emptied one shows nothing old': {
    prepare: (d) => write(mkdir(d, 'b'), 'old'),
    run: (d) => {
      fs.unlinkSync(join(d, 'b/old'))
      write(mkdir(d, 'a'), 'new')
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      deepEqual(list(d, 'b'), ['new'])
    },
  },
  'of a directory over a full one is ENOTEMPTY': {
    prepare: (d) => write(mkdir(d, 'b'), 'f'),
    run: (d) => {
      mkdir(d, 'a')
      fails(ENOTEMPTY, () => fs.renameSync(join(d, 'a'), join(d, 'b')))
      deepEqual(list(d), ['a', 'b'])
    },
  },
  'updates what .. names': (d) => {
    mkdir(mkdir(d, 'one'), 'sub')
    mkdir(d, 'two')
    fs.renameSync(join(d, 'one/sub'), join(d, 'two/sub'))
    equal(fs.statSync(`${join(d, 'two/sub')}/..`, { bigint: true }).ino, lstat(d, 'two').ino)
  },
  'moves symlinks and fifos as they are': {
    prepare: (d) => fs.symlinkSync('target', join(d, 'l')),
    run: (d) => {
      fs.renameSync(join(d, 'l'), join(d, 'm'))
      equal(fs.readlinkSync(join(d, 'm')), 'target')
      deepEqual(list(d), ['m'])
    },
  },
  'to a name just removed': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) => {
      fs.unlinkSync(join(d, 'b'))
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      equal(read(d, 'b'), 'A')
      deepEqual(list(d), ['b'])
    },
  },
  'changes the ctime and not the mtime': {
    prepare: (d) => {
      write(d, 'a')
      fs.utimesSync(join(d, 'a'), 1000, 1000)
    },
    run: (d) => {
      fs.renameSync(join(d, 'a'), join(d, 'b'))
      equal(lstat(d, 'b').mtimeMs, 1_000_000n)
      ok(lstat(d, 'b').ctimeMs > 1_000_000n)
    },
  },
})

const noreplace = topic('rename NOREPLACE', {
  'moves to a free name': {
    prepare: (d) => write(d, 'a', 'abc'),
    run: (d) => {
      renameat2(join(d, 'a'), join(d, 'b'), RENAME_NOREPLACE)
      deepEqual(list(d), ['b'])
    },
  },
  'refuses a taken name': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) => {
      fails(EEXIST, () => renameat2(join(d, 'a'), join(d, 'b'), RENAME_NOREPLACE))
      deepEqual([read(d, 'a'), read(d, 'b')], ['A', 'B'])
    },
  },
  'moves to a name just removed': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) => {
      fs.unlinkSync(join(d, 'b'))
      renameat2(join(d, 'a'), join(d, 'b'), RENAME_NOREPLACE)
      equal(read(d, 'b'), 'A')
    },
  },
})

const exchange = topic('rename EXCHANGE', {
  'swaps two files': {
    prepare: (d) => {
      write(d, 'a', 'A')
      write(d, 'b', 'B')
    },
    run: (d) => {
      const inos = [lstat(d, 'a').ino, lstat(d, 'b').ino]
      renameat2(join(d, 'a'), join(d, 'b'), RENAME_EXCHANGE)
      deepEqual([read(d, 'a'), read(d, 'b')], ['B', 'A'])
      deepEqual([lstat(d, 'b').ino, lstat(d, 'a').ino], inos)
    },
  },
  'swaps a file and a directory made now': (d) => {
    write(d, 'f', 'F')
    write(mkdir(d, 'sub'), 'g', 'G')
    renameat2(join(d, 'f'), join(d, 'sub'), RENAME_EXCHANGE)
    equal(read(d, 'sub'), 'F')
    deepEqual(list(d, 'f'), ['g'])
  },
  'with a missing name is ENOENT': {
    prepare: (d) => {
      write(d, 'a')
      write(d, 'gone')
    },
    run: (d) => {
      fails(ENOENT, () => renameat2(join(d, 'a'), join(d, 'b'), RENAME_EXCHANGE))
      fs.unlinkSync(join(d, 'gone'))
      fails(ENOENT, () => renameat2(join(d, 'a'), join(d, 'gone'), RENAME_EXCHANGE))
      deepEqual(list(d), ['a'])
    },
  },
  'with NOREPLACE is EINVAL': {
    prepare: (d) => {
      write(d, 'a')
      write(d, 'b')
    },
    run: (d) =>
      fails(EINVAL, () => renameat2(join(d, 'a'), join(d, 'b'), RENAME_EXCHANGE | RENAME_NOREPLACE)),
  },
})

export const rename = [...plain, ...noreplace, ...exchange]
