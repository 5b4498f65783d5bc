import fs from 'node:fs'
import {
  EACCES,
  ENXIO,
  EPERM,
  O_NONBLOCK,
  O_RDWR,
  O_WRONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  UTIME_NOW,
  UTIME_OMIT,
} from '../../../src/abi/linux.js'
import { makedev } from '../../../src/sys/stat.js'
import { futimens, mknod, statx, utimens } from '../../support/sys.js'
import {
  asMortal,
  asUser,
  deepEqual,
  equal,
  fails,
  giveToMortal,
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

const special = topic('special files', {
  'fifo, socket and empty regular file are made': (d) => {
    for (const [name, type] of [
      ['p', S_IFIFO],
      ['s', S_IFSOCK],
      ['f', S_IFREG],
    ] as const) {
      withUmask(0o022, () => mknod(join(d, name), type | 0o666))
      equal(statx(join(d, name)).mode, type | 0o644)
    }
    deepEqual(list(d), ['f', 'p', 's'])
  },
  'devices keep their numbers': {
    needs: 'root',
    prepare: (d) => mknod(join(d, 'before'), S_IFCHR | 0o600, makedev(1, 3)),
    run: (d) => {
      mknod(join(d, 'c'), S_IFCHR | 0o666, makedev(1, 5))
      mknod(join(d, 'b'), S_IFBLK | 0o640, makedev(259, 70000))
      deepEqual(
        ['before', 'c', 'b'].map((name) => statx(join(d, name)).rdev),
        [makedev(1, 3), makedev(1, 5), makedev(259, 70000)],
      )
      equal(statx(join(d, 'b')).mode & S_IFMT, S_IFBLK)
    },
  },
  'change mode, owner and times without being opened': {
    prepare: (d) => {
      mknod(join(d, 'p'), S_IFIFO | 0o600)
      mknod(join(d, 's'), S_IFSOCK | 0o600)
    },
    run: (d) => {
      for (const name of ['p', 's']) {
        fs.chmodSync(join(d, name), 0o640)
        fs.chownSync(join(d, name), process.getuid?.() ?? 0, process.getgid?.() ?? 0)
        utimens(join(d, name), 1, 2, 3, 4)
        equal(perms(d, name), 0o640)
        equal(statx(join(d, name)).mtimeNs, 4)
      }
      equal(statx(join(d, 'p')).mode & S_IFMT, S_IFIFO)
    },
  },
  'fifo without a reader is ENXIO for a writer that will not wait': {
    prepare: (d) => mknod(join(d, 'p'), S_IFIFO | 0o600),
    run: (d) => fails(ENXIO, () => fs.openSync(join(d, 'p'), O_WRONLY | O_NONBLOCK)),
  },
  'fifo passes bytes': {
    prepare: (d) => mknod(join(d, 'p'), S_IFIFO | 0o600),
    run: (d) =>
      withFd(join(d, 'p'), O_RDWR | O_NONBLOCK, (fd) => {
        fs.writeSync(fd, 'through')
        const b = Buffer.alloc(10)
        equal(b.toString('latin1', 0, fs.readSync(fd, b)), 'through')
      }),
  },
  'can be linked, renamed and removed': {
    prepare: (d) => mknod(join(d, 'p'), S_IFIFO | 0o600),
    run: (d) => {
      fs.linkSync(join(d, 'p'), join(d, 'q'))
      equal(lstat(d, 'q').nlink, 2n)
      fs.renameSync(join(d, 'p'), join(d, 'r'))
      fs.unlinkSync(join(d, 'q'))
      deepEqual(list(d), ['r'])
    },
  },
})

const ns = (dir: string, name: string): [number, number, number, number] => {
  const a = statx(join(dir, name))
  return [a.atime, a.atimeNs, a.mtime, a.mtimeNs]
}

const times = topic('times', {
  'keep nanoseconds': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      utimens(join(d, 'f'), 1_000_000_001, 123_456_789, 1_600_000_000, 987_654_321)
      deepEqual(ns(d, 'f'), [1_000_000_001, 123_456_789, 1_600_000_000, 987_654_321])
    },
  },
  'prepared with nanoseconds are shown': {
    prepare: (d) => {
      write(d, 'f')
      utimens(join(d, 'f'), 1_000_000_001, 1, 1_600_000_000, 999_999_999)
    },
    run: (d) => {
      deepEqual(ns(d, 'f').slice(2), [1_600_000_000, 999_999_999])
      fs.chmodSync(join(d, 'f'), 0o600)
      deepEqual(ns(d, 'f').slice(2), [1_600_000_000, 999_999_999])
    },
  },
  'left out with UTIME_OMIT stay': {
    prepare: (d) => {
      write(d, 'f')
      utimens(join(d, 'f'), 10, 11, 20, 21)
    },
    run: (d) => {
      utimens(join(d, 'f'), 0, UTIME_OMIT, 30, 31)
      deepEqual(ns(d, 'f'), [10, 11, 30, 31])
      utimens(join(d, 'f'), 40, 41, 0, UTIME_OMIT)
      deepEqual(ns(d, 'f'), [40, 41, 30, 31])
    },
  },
  'set with UTIME_NOW are now': {
    prepare: (d) => {
      write(d, 'f')
      utimens(join(d, 'f'), 10, 11, 20, 21)
    },
    run: (d) => {
      const before = Math.floor(Date.now() / 1000) - 1
      utimens(join(d, 'f'), 0, UTIME_NOW, 0, UTIME_NOW)
      const [atime, , mtime] = ns(d, 'f')
      ok(atime >= before && mtime >= before)
    },
  },
  'before 1970 and after 2038 are kept': {
    prepare: (d) => {
      write(d, 'old')
      write(d, 'new')
    },
    run: (d) => {
      utimens(join(d, 'old'), -1_000_000_000, 5, -1, 999_999_999)
      deepEqual(ns(d, 'old'), [-1_000_000_000, 5, -1, 999_999_999])
      utimens(join(d, 'new'), 5_000_000_000, 6, 4_294_967_296, 7)
      deepEqual(ns(d, 'new'), [5_000_000_000, 6, 4_294_967_296, 7])
    },
  },
  'are set through a descriptor': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      withFd(join(d, 'f'), O_RDWR, (fd) => futimens(fd, 1, 2, 3, 4))
      deepEqual(ns(d, 'f'), [1, 2, 3, 4])
    },
  },
  'of a write move forward': {
    prepare: (d) => {
      write(d, 'f')
      utimens(join(d, 'f'), 10, 0, 20, 0)
    },
    run: (d) => {
      fs.appendFileSync(join(d, 'f'), 'x')
      const { mtimeMs, ctimeMs } = fs.lstatSync(join(d, 'f'))
      ok(mtimeMs > 1e9 && ctimeMs > 1e9)
    },
  },
  'of a directory are kept when a child changes only itself': {
    prepare: (d) => {
      write(mkdir(d, 'sub'), 'f')
      utimens(join(d, 'sub'), 10, 11, 20, 21)
    },
    run: (d) => {
      fs.appendFileSync(join(d, 'sub/f'), 'x')
      fs.chmodSync(join(d, 'sub/f'), 0o600)
      deepEqual(ns(d, 'sub').slice(2), [20, 21])
    },
  },
  'of others may not be set, nor touched without write permission': {
    needs: 'root',
    prepare: (d) => write(d, 'f', 'x', 0o644),
    run: (d) => {
      asMortal(() => {
        fails(EPERM, () => utimens(join(d, 'f'), 1, 1, 1, 1))
        fails(EACCES, () => utimens(join(d, 'f'), 0, UTIME_NOW, 0, UTIME_NOW))
      })
    },
  },
})

const owners = topic('owners', {
  'are the maker and its group': {
    needs: 'root',
    prepare: (d) => void mkdir(d, 'open', 0o777),
    run: (d) =>
      asUser(1234, 2345, () => {
        write(d, 'open/f')
        fs.mkdirSync(join(d, 'open/sub'))
        fs.symlinkSync('x', join(d, 'open/l'))
        mknod(join(d, 'open/p'), S_IFIFO | 0o600)
        for (const name of ['f', 'sub', 'l', 'p']) {
          const st = lstat(d, `open/${name}`)
          deepEqual([st.uid, st.gid], [1234n, 2345n])
        }
      }),
  },
  'are changed by root, one or both': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f')
      mkdir(d, 'sub')
      fs.symlinkSync('f', join(d, 'l'))
    },
    run: (d) => {
      const ids = (name: string): bigint[] => [lstat(d, name).uid, lstat(d, name).gid]
      for (const name of ['f', 'sub', 'l']) {
        fs.lchownSync(join(d, name), 3000, 4000)
        deepEqual(ids(name), [3000n, 4000n])
        fs.lchownSync(join(d, name), -1, 5000)
        deepEqual(ids(name), [3000n, 5000n])
        fs.lchownSync(join(d, name), 6000, -1)
        deepEqual(ids(name), [6000n, 5000n])
      }
    },
  },
  'above 2^31 are kept': {
    needs: 'root',
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      fs.chownSync(join(d, 'f'), 4294967294, 3000000000)
      deepEqual([lstat(d, 'f').uid, lstat(d, 'f').gid], [4294967294n, 3000000000n])
    },
  },
  'prepared are shown and survive a write': {
    needs: 'root',
    prepare: (d) => {
      write(mkdir(d, 'sub'), 'f')
      fs.chownSync(join(d, 'sub/f'), 1111, 2222)
      fs.chownSync(join(d, 'sub'), 3333, 4444)
    },
    run: (d) => {
      fs.appendFileSync(join(d, 'sub/f'), 'x')
      deepEqual([lstat(d, 'sub/f').uid, lstat(d, 'sub/f').gid], [1111n, 2222n])
      deepEqual([lstat(d, 'sub').uid, lstat(d, 'sub').gid], [3333n, 4444n])
    },
  },
  'may not be changed by others': {
    needs: 'mortal',
    prepare: (d) => {
      write(d, 'f')
      giveToMortal(join(d, 'f'))
    },
    run: (d) => asMortal(() => fails(EPERM, () => fs.chownSync(join(d, 'f'), 0, -1))),
  },
  'may be given to a group one is in': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f')
      fs.chownSync(join(d, 'f'), 1234, 1234)
    },
    run: (d) =>
      asUser(
        1234,
        1234,
        () => {
          fs.chownSync(join(d, 'f'), -1, 777)
          equal(lstat(d, 'f').gid, 777n)
          fails(EPERM, () => fs.chownSync(join(d, 'f'), -1, 778))
        },
        [777],
      ),
  },
})

const modes = topic('modes', {
  'are changed, all 12 bits': {
    prepare: (d) => {
      write(d, 'f')
      mkdir(d, 'sub')
    },
    run: (d) => {
      for (const mode of [0o000, 0o777, 0o4755, 0o2711, 0o1700, 0o7777]) {
        fs.chmodSync(join(d, 'f'), mode)
        fs.chmodSync(join(d, 'sub'), mode)
        deepEqual([perms(d, 'f'), perms(d, 'sub')], [mode, mode])
      }
      fs.chmodSync(join(d, 'sub'), 0o700)
    },
  },
  'of a file whose mode forbids all are changed by its owner': {
    prepare: (d) => write(d, 'f', 'abc', 0o000),
    run: (d) => {
      fs.chmodSync(join(d, 'f'), 0o600)
      fs.appendFileSync(join(d, 'f'), 'd')
      equal(read(d, 'f'), 'abcd')
    },
  },
  'change the ctime': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      const before = lstat(d, 'f').ctimeNs
      fs.chmodSync(join(d, 'f'), 0o600)
      ok(lstat(d, 'f').ctimeNs >= before)
    },
  },
  'of others may not be changed': {
    needs: 'root',
    prepare: (d) => write(d, 'f'),
    run: (d) => asUser(1234, 1234, () => fails(EPERM, () => fs.chmodSync(join(d, 'f'), 0o777))),
  },
  'lose setgid when the owner is not in the group': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f')
      fs.chownSync(join(d, 'f'), 1234, 9999)
    },
    run: (d) => {
      asUser(1234, 1234, () => fs.chmodSync(join(d, 'f'), 0o2755))
      equal(perms(d, 'f'), 0o755)
    },
  },
})

export const attr = [...special, ...times, ...owners, ...modes]
