import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import {
  EAGAIN,
  ENXIO,
  ETXTBSY,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_WRONLY,
  SEEK_DATA,
  SEEK_HOLE,
} from '../../../src/abi/linux.js'
import { LOCK_EX, LOCK_NB, LOCK_SH } from '../../../src/sys/file.js'
import {
  copyFileRange,
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  fallocate,
  flock,
  linkFd,
  lockRange,
  lseek,
  Mapping,
  statx,
  syncfs,
} from '../../support/sys.js'
import {
  asMortal,
  deepEqual,
  equal,
  fails,
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
  write,
} from '../kit.js'

const KB = 1024
const MB = 1024 * KB
const LOCK_UN = 8

const locks = topic('locks', {
  'flock excludes another open file': {
    prepare: (d) => write(d, 'f'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (a) =>
        withFd(join(d, 'f'), O_RDWR, (b) => {
          flock(a, LOCK_EX | LOCK_NB)
          fails(EAGAIN, () => flock(b, LOCK_SH | LOCK_NB))
          flock(a, LOCK_UN)
          flock(b, LOCK_SH | LOCK_NB)
          flock(a, LOCK_SH | LOCK_NB)
          fails(EAGAIN, () => flock(a, LOCK_EX | LOCK_NB))
        }),
      ),
  },
  'flock of a reader holds through a copy-up by a writer': {
    prepare: (d) => write(d, 'f'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (a) => {
        flock(a, LOCK_EX | LOCK_NB)
        withFd(join(d, 'f'), O_RDWR, (b) => {
          fs.writeSync(b, 'x')
          fails(EAGAIN, () => flock(b, LOCK_EX | LOCK_NB))
        })
      }),
  },
  'of byte ranges exclude what overlaps': {
    prepare: (d) => write(d, 'f', 'x'.repeat(100)),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (a) =>
        withFd(join(d, 'f'), O_RDWR, (b) => {
          lockRange(a, F_WRLCK, 10, 10)
          fails(EAGAIN, () => lockRange(b, F_RDLCK, 15, 10))
          lockRange(b, F_WRLCK, 20, 10)
          lockRange(a, F_UNLCK, 10, 10)
          lockRange(b, F_WRLCK, 10, 10)
        }),
      ),
  },
})

const text = (bytes: Buffer, from: number, to: number): string => bytes.toString('latin1', from, to)

const mmap = topic('mmap', {
  'shows the file': {
    prepare: (d) => write(d, 'f', pattern(100_000)),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        const map = new Mapping(fd, 100_000, false)
        ok(map.bytes.equals(pattern(100_000)))
        map.unmap()
      }),
  },
  'shared, written, is read by read': {
    prepare: (d) => write(d, 'f', 'a'.repeat(9000)),
    run: (d) => {
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        const map = new Mapping(fd, 9000, true)
        map.bytes.write('HELLO', 5000)
        map.sync()
        const b = Buffer.alloc(5)
        fs.readSync(fd, b, 0, 5, 5000)
        equal(b.toString(), 'HELLO')
        map.bytes.write('AGAIN', 8000)
        map.unmap()
      })
      equal(read(d, 'f').slice(8000, 8005), 'AGAIN')
      equal(lstat(d, 'f').size, 9000n)
    },
  },
  'shared, written, sets the times of the file': {
    prepare: (d) => write(d, 'f', 'a'.repeat(9000)),
    run: (d) => {
      const file = join(d, 'f')
      fs.utimesSync(file, 1000, 1000)
      const changed = lstat(d, 'f').ctimeNs
      withFd(file, O_RDWR, (fd) => {
        const map = new Mapping(fd, 9000, true)
        map.bytes.write('HELLO', 5000)
        map.sync()
        ok(fs.fstatSync(fd, { bigint: true }).mtimeMs > 1_000_000n, 'while it is open')
        map.unmap()
      })
      ok(lstat(d, 'f').mtimeMs > 1_000_000n, 'once it is closed')
      ok(lstat(d, 'f').ctimeNs >= changed, 'the time of change')
    },
  },
  'shared by a reader opened before sees what a writer writes': {
    prepare: (d) => write(d, 'f', 'a'.repeat(9000)),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        const map = new Mapping(fd, 9000, false)
        equal(text(map.bytes, 5000, 5005), 'aaaaa')
        withFd(join(d, 'f'), O_RDWR, (writer) => fs.writeSync(writer, 'HELLO', 5000))
        equal(text(map.bytes, 5000, 5005), 'HELLO')
        map.unmap()
      }),
  },
  'shared between writer and reader is one memory': {
    prepare: (d) => write(d, 'f', 'a'.repeat(9000)),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (one) =>
        withFd(join(d, 'f'), O_RDONLY, (two) => {
          const writer = new Mapping(one, 9000, true)
          const reader = new Mapping(two, 9000, false)
          writer.bytes.write('now', 100)
          equal(text(reader.bytes, 100, 103), 'now')
          writer.unmap()
          reader.unmap()
        }),
      ),
  },
  'private keeps writes to itself': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        const map = new Mapping(fd, 3, true, false)
        map.bytes.write('X', 0)
        equal(read(d, 'f'), 'abc')
        map.unmap()
      }),
  },
  'outlives the descriptor and the name': {
    prepare: (d) => write(d, 'f', pattern(50_000)),
    run: (d) => {
      const map = withFd(join(d, 'f'), O_RDONLY, (fd) => new Mapping(fd, 50_000, false))
      fs.unlinkSync(join(d, 'f'))
      ok(map.bytes.equals(pattern(50_000)))
      map.unmap()
    },
  },
})

const tmpfile = topic('O_TMPFILE', {
  'has no name until it is linked': (d) => {
    withFd(
      d,
      O_TMPFILE | O_RDWR,
      (fd) => {
        fs.writeSync(fd, 'abc')
        equal(fs.fstatSync(fd).nlink, 0)
        deepEqual(list(d), [])
        linkFd(fd, join(d, 'f'))
        equal(fs.fstatSync(fd).nlink, 1)
        fs.writeSync(fd, 'd')
      },
      0o640,
    )
    equal(read(d, 'f'), 'abcd')
    equal(perms(d, 'f') & 0o700, 0o600)
  },
  'in a prepared directory is linked over a removed name': {
    prepare: (d) => write(mkdir(d, 'sub'), 'f', 'old'),
    run: (d) => {
      fs.unlinkSync(join(d, 'sub/f'))
      withFd(join(d, 'sub'), O_TMPFILE | O_RDWR, (fd) => {
        fs.writeSync(fd, 'new')
        linkFd(fd, join(d, 'sub/f'))
      })
      equal(read(d, 'sub/f'), 'new')
    },
  },
  'left unlinked leaves nothing': (d) => {
    withFd(d, O_TMPFILE | O_WRONLY, (fd) => fs.writeSync(fd, 'abc'))
    deepEqual(list(d), [])
  },
})

const allocation = topic('fallocate', {
  'by another than root takes set-id bits': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'data', 0o6777)
      write(d, 'g', 'data', 0o2666)
    },
    run: (d) => {
      for (const name of ['f', 'g'])
        asMortal(() => withFd(join(d, name), O_RDWR, (fd) => fallocate(fd, 0, 0, 64 * KB)))
      deepEqual([perms(d, 'f'), perms(d, 'g')], [0o777, 0o666])
    },
  },
  'grows the file, or keeps its size': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 64 * KB)
        equal(fs.fstatSync(fd).size, 3)
        ok(fs.fstatSync(fd).blocks >= 128)
        fallocate(fd, 0, 0, 10)
        equal(fs.readFileSync(join(d, 'f'), 'latin1'), `abc${'\0'.repeat(7)}`)
      }),
  },
  'punches holes': {
    prepare: (d) => write(d, 'f', 'x'.repeat(64 * KB)),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 * KB, 16 * KB)
        const bytes = fs.readFileSync(join(d, 'f'))
        equal(bytes.length, 64 * KB)
        ok(bytes.subarray(16 * KB, 32 * KB).every((b) => b === 0))
        ok(bytes.subarray(0, 16 * KB).every((b) => b === 0x78))
        ok(bytes.subarray(32 * KB).every((b) => b === 0x78))
        equal(lseek(fd, 0, SEEK_HOLE), 16 * KB)
      }),
  },
  'zeroes ranges': {
    prepare: (d) => write(d, 'f', 'x'.repeat(32 * KB)),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fallocate(fd, FALLOC_FL_ZERO_RANGE, 1000, 30 * KB)
        const bytes = fs.readFileSync(join(d, 'f'))
        ok(bytes.subarray(1000, 1000 + 30 * KB).every((b) => b === 0))
        equal(bytes[999], 0x78)
        equal(bytes[1000 + 30 * KB], 0x78)
      }),
  },
})

/** Data at 0, 1 MiB and 3 MiB, holes between, 4 MiB long. */
const sparse = (dir: string, name: string): void =>
  withFd(join(dir, name), O_CREAT | O_RDWR, (fd) => {
    for (const at of [0, MB, 3 * MB]) fs.writeSync(fd, pattern(64 * KB, at + 1), 0, 64 * KB, at)
    fs.ftruncateSync(fd, 4 * MB)
  })

const holes = topic('holes', {
  'are found by SEEK_HOLE and SEEK_DATA': {
    prepare: (d) => sparse(d, 'f'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDONLY, (fd) => {
        equal(lseek(fd, 0, SEEK_DATA), 0)
        equal(lseek(fd, 0, SEEK_HOLE), 64 * KB)
        equal(lseek(fd, 64 * KB, SEEK_DATA), MB)
        equal(lseek(fd, MB + 64 * KB, SEEK_DATA), 3 * MB)
        equal(lseek(fd, 3 * MB, SEEK_HOLE), 3 * MB + 64 * KB)
        fails(ENXIO, () => lseek(fd, 3 * MB + 64 * KB, SEEK_DATA))
        fails(ENXIO, () => lseek(fd, 4 * MB + 1, SEEK_HOLE))
      }),
  },
  'stay holes when a byte is written': {
    prepare: (d) => sparse(d, 'f'),
    run: (d) => {
      withFd(join(d, 'f'), O_RDWR, (fd) => fs.writeSync(fd, 'X', 5))
      ok(lstat(d, 'f').blocks <= 1000n)
      equal(lstat(d, 'f').size, BigInt(4 * MB))
      const bytes = fs.readFileSync(join(d, 'f'))
      equal(bytes[5], 0x58)
      ok(bytes.subarray(3 * MB, 3 * MB + 64 * KB).equals(pattern(64 * KB, 3 * MB + 1)))
      ok(bytes.subarray(64 * KB, MB).every((b) => b === 0))
    },
  },
})

const copies = topic('copy_file_range', {
  'copies within and between files': {
    prepare: (d) => {
      write(d, 'a', pattern(200_000))
      write(d, 'b', 'old')
    },
    run: (d) =>
      withFd(join(d, 'a'), O_RDWR, (a) =>
        withFd(join(d, 'b'), O_RDWR, (b) => {
          for (let at = 0; at < 150_000; ) at += copyFileRange(a, 10_000 + at, b, at, 150_000 - at)
          ok(fs.readFileSync(join(d, 'b')).equals(pattern(200_000).subarray(10_000, 160_000)))
          equal(copyFileRange(a, 200_000, b, 0, 100), 0)
          for (let at = 0; at < 1000; ) at += copyFileRange(a, at, a, 100_000 + at, 1000 - at)
          ok(fs.readFileSync(join(d, 'a')).subarray(100_000, 101_000).equals(pattern(1000)))
        }),
      ),
  },
})

const facts = topic('statx and statfs', {
  'birth time is of the file': {
    prepare: (d) => write(d, 'before'),
    run: (d) => {
      write(d, 'now')
      const before = statx(join(d, 'before'))
      const now = statx(join(d, 'now'))
      ok(now.btime >= before.btime && before.btime > 1_000_000)
      fs.utimesSync(join(d, 'now'), 5, 5)
      deepEqual([statx(join(d, 'now')).btime, statx(join(d, 'now')).btimeNs], [now.btime, now.btimeNs])
    },
  },
  'block counts follow the data': {
    prepare: (d) => write(d, 'f', pattern(100_000)),
    run: (d) => {
      withFd(join(d, 'f'), O_RDWR, (fd) => fs.fsyncSync(fd))
      ok(lstat(d, 'f').blocks >= 196n)
      ok(lstat(d, 'f').blksize >= 512n)
    },
  },
  'of the filesystem are sane': (d) => {
    const fact = fs.statfsSync(d)
    ok(fact.bsize >= 512 && fact.blocks > 0 && fact.bfree <= fact.blocks && fact.files > 0)
  },
  'the device is the same for all files': {
    prepare: (d) => write(mkdir(d, 'sub'), 'f'),
    run: (d) => {
      write(d, 'g')
      const { dev } = lstat(d)
      deepEqual([lstat(d, 'sub').dev, lstat(d, 'sub/f').dev, lstat(d, 'g').dev], [dev, dev, dev])
    },
  },
})

const durable = topic('sync', {
  'of file, data and filesystem succeed': {
    prepare: (d) => write(d, 'f', 'abc'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        fs.writeSync(fd, 'X')
        fs.fsyncSync(fd)
        fs.fdatasyncSync(fd)
        syncfs(fd)
        equal(read(d, 'f'), 'Xbc')
      }),
  },
  'of a read-only descriptor and of a directory succeed': {
    prepare: (d) => write(mkdir(d, 'sub'), 'f'),
    run: (d) => {
      withFd(join(d, 'sub/f'), O_RDONLY, (fd) => fs.fsyncSync(fd))
      withFd(join(d, 'sub'), O_RDONLY | O_DIRECTORY, (fd) => fs.fsyncSync(fd))
    },
  },
  'O_SYNC writes': (d) => {
    withFd(join(d, 'f'), O_CREAT | O_WRONLY | O_SYNC, (fd) => fs.writeSync(fd, 'abc'))
    equal(read(d, 'f'), 'abc')
  },
  'O_DIRECT reads and writes whole blocks': {
    prepare: (d) => write(d, 'f', pattern(16 * KB)),
    run: (d) => {
      const memory = new Mapping(-1, 16 * KB, true)
      withFd(join(d, 'f'), O_RDWR | O_DIRECT, (fd) => {
        equal(fs.readSync(fd, memory.bytes, 0, 16 * KB, 0), 16 * KB)
        ok(memory.bytes.equals(pattern(16 * KB)))
        memory.bytes.fill('z', 0, 4 * KB)
        equal(fs.writeSync(fd, memory.bytes, 0, 4 * KB, 8 * KB), 4 * KB)
      })
      const expected = pattern(16 * KB).fill('z', 8 * KB, 12 * KB)
      ok(fs.readFileSync(join(d, 'f')).equals(expected))
      memory.unmap()
    },
  },
})

const SLEEP = '/bin/sleep'

const exec = topic('programs', {
  'run from the mount': {
    prepare: (d) => {
      fs.copyFileSync('/bin/echo', join(d, 'echo'))
      fs.chmodSync(join(d, 'echo'), 0o755)
      write(d, 'script', '#!/bin/sh\necho "script $1"\n', 0o755)
    },
    run: (d) => {
      equal(spawnSync(join(d, 'echo'), ['hello'], { encoding: 'utf8' }).stdout, 'hello\n')
      equal(spawnSync(join(d, 'script'), ['arg'], { encoding: 'utf8' }).stdout, 'script arg\n')
    },
  },
  'without execute permission do not': {
    prepare: (d) => write(d, 'script', '#!/bin/sh\n', 0o644),
    run: (d) =>
      equal((spawnSync(join(d, 'script')).error as NodeJS.ErrnoException | undefined)?.code, 'EACCES'),
  },
  'that run are ETXTBSY for writers': {
    prepare: (d) => {
      fs.copyFileSync(SLEEP, join(d, 'sleep'))
      fs.chmodSync(join(d, 'sleep'), 0o755)
    },
    run: (d) => {
      const child = spawn(join(d, 'sleep'), ['60'], { stdio: 'ignore' })
      try {
        fails(ETXTBSY, () => fs.openSync(join(d, 'sleep'), O_RDWR))
      } finally {
        child.kill('SIGKILL')
      }
    },
  },
})

export const io = [
  ...locks,
  ...mmap,
  ...tmpfile,
  ...allocation,
  ...holes,
  ...copies,
  ...facts,
  ...durable,
  ...exec,
]
