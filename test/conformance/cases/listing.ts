import fs from 'node:fs'
import {
  DT_DIR,
  DT_FIFO,
  DT_LNK,
  DT_REG,
  ENAMETOOLONG,
  ENOENT,
  O_DIRECTORY,
  O_RDONLY,
  S_IFIFO,
} from '../../../src/abi/linux.js'
import { alldents, getdents, mknod, seekdir } from '../../support/sys.js'
import { deepEqual, equal, fails, join, list, lstat, mkdir, ok, read, topic, withFd, write } from '../kit.js'

const open = <T>(dir: string, use: (fd: number) => T): T => withFd(dir, O_RDONLY | O_DIRECTORY, use)
const dots = ['.', '..']
const isName = (name: string): boolean => !dots.includes(name)
const MANY = 5000

const readdir = topic('readdir', {
  'gives ., .. and each name once, with type and inode number': {
    prepare: (d) => {
      write(d, 'f')
      mkdir(d, 'sub')
      fs.symlinkSync('f', join(d, 'l'))
      mknod(join(d, 'p'), S_IFIFO | 0o600)
      fs.linkSync(join(d, 'f'), join(d, 'g'))
    },
    run: (d) => {
      const entries = open(d, (fd) => alldents(fd))
      deepEqual(entries.map((e) => e.name).sort(), ['.', '..', 'f', 'g', 'l', 'p', 'sub'])
      const types: Record<string, number> = { f: DT_REG, g: DT_REG, l: DT_LNK, p: DT_FIFO, sub: DT_DIR }
      for (const { name, type, ino } of entries.filter((e) => isName(e.name))) {
        equal(type, types[name])
        equal(ino, lstat(d, name).ino)
      }
      equal(entries.find((e) => e.name === '.')?.ino, lstat(d).ino)
      equal(entries.find((e) => e.name === '..')?.ino, lstat(d, '..').ino)
    },
  },
  'numbers stay after a write': {
    prepare: (d) => write(mkdir(d, 'sub'), 'f'),
    run: (d) => {
      const number = (): bigint | undefined =>
        open(join(d, 'sub'), (fd) => alldents(fd)).find((e) => e.name === 'f')?.ino
      const before = number()
      equal(lstat(d, 'sub/f').ino, before)
      fs.appendFileSync(join(d, 'sub/f'), 'x')
      equal(lstat(d, 'sub/f').ino, before)
      equal(number(), before)
    },
  },
  'gives 5000 names, each once': {
    prepare: (d) => {
      mkdir(d, 'many')
      for (let i = 0; i < MANY; i++) fs.writeFileSync(join(d, 'many', `name-${i}`), '')
    },
    run: (d) => {
      for (const room of [1000, 32768]) {
        const names = open(join(d, 'many'), (fd) => alldents(fd, room)).map((e) => e.name)
        equal(names.length, MANY + 2)
        equal(new Set(names).size, MANY + 2)
      }
    },
  },
  'from just before where an entry stands finds entries': {
    prepare: (d) => {
      mkdir(d, 'many')
      for (let i = 0; i < 100; i++) fs.writeFileSync(join(d, 'many', `name-${i}`), '')
    },
    run: (d) => {
      open(join(d, 'many'), (fd) => {
        const cookies = alldents(fd).map((e) => e.next)
        for (const cookie of cookies.slice(2, -2)) {
          seekdir(fd, cookie - 1n)
          ok(getdents(fd, 4096).length > 0)
        }
      })
    },
  },
  'of a directory that loses names while it is read gives the rest once': {
    prepare: (d) => {
      mkdir(d, 'many')
      for (let i = 0; i < 1000; i++) fs.writeFileSync(join(d, 'many', `name-${i}`), '')
    },
    run: (d) => {
      const seen: string[] = []
      open(join(d, 'many'), (fd) => {
        for (;;) {
          const some = getdents(fd, 2048)
            .map((e) => e.name)
            .filter(isName)
          if (some.length === 0 && seen.length > 0) break
          for (const name of some) {
            seen.push(name)
            fs.unlinkSync(join(d, 'many', name))
          }
        }
      })
      equal(seen.length, 1000)
      equal(new Set(seen).size, 1000)
      deepEqual(list(d, 'many'), [])
      fs.rmdirSync(join(d, 'many'))
    },
  },
  'of a directory whose names are changed as they are read ends': {
    prepare: (d) => {
      mkdir(d, 'many')
      for (let i = 0; i < 300; i++) fs.writeFileSync(join(d, 'many', `name-${i}`), '')
    },
    run: (d) =>
      open(join(d, 'many'), (fd) => {
        let renamed = 0
        for (let some = getdents(fd, 1024); some.length > 0; some = getdents(fd, 1024))
          for (const { name } of some.filter((e) => isName(e.name))) {
            fs.renameSync(join(d, 'many', name), join(d, 'many', `${renamed} was ${name.slice(-100)}`))
            if (++renamed > 3000) throw new Error('the listing does not end')
          }
        equal(list(d, 'many').length, 300)
      }),
  },
  'goes on from a cookie': {
    prepare: (d) => {
      mkdir(d, 'some')
      for (let i = 0; i < 300; i++) fs.writeFileSync(join(d, 'some', `name-${i}`), '')
    },
    run: (d) =>
      open(join(d, 'some'), (fd) => {
        const all = alldents(fd)
        for (const i of [0, 1, 2, 150, 300, 301]) {
          seekdir(fd, all[i]?.next ?? -1n)
          deepEqual(
            alldents(fd, 1024).map((e) => e.name),
            all.slice(i + 1).map((e) => e.name),
          )
        }
        seekdir(fd, 0n)
        equal(alldents(fd).length, 302)
      }),
  },
  'rewound shows what is new': {
    prepare: (d) => write(mkdir(d, 'sub'), 'a'),
    run: (d) =>
      open(join(d, 'sub'), (fd) => {
        alldents(fd)
        write(d, 'sub/b')
        fs.unlinkSync(join(d, 'sub/a'))
        seekdir(fd, 0n)
        deepEqual(
          alldents(fd)
            .map((e) => e.name)
            .filter(isName),
          ['b'],
        )
      }),
  },
  'shows a name that comes back once': {
    prepare: (d) => {
      for (const name of ['a', 'b', 'c']) write(d, name)
    },
    run: (d) => {
      for (let i = 0; i < 3; i++) {
        fs.unlinkSync(join(d, 'b'))
        deepEqual(list(d), ['a', 'c'])
        write(d, 'b')
        deepEqual(list(d), ['a', 'b', 'c'])
      }
    },
  },
  'of a removed directory is ENOENT': {
    prepare: (d) => write(mkdir(d, 'sub'), 'f'),
    run: (d) =>
      open(join(d, 'sub'), (fd) => {
        fs.unlinkSync(join(d, 'sub/f'))
        fs.rmdirSync(join(d, 'sub'))
        fails(ENOENT, () => alldents(fd))
        fails(ENOENT, () => list(d, 'sub'))
      }),
  },
})

const bytes = (dir: string, name: string): Buffer =>
  Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name, 'latin1')])
const listBytes = (dir: string): string[] =>
  fs
    .readdirSync(dir, 'buffer')
    .map((name) => name.toString('latin1'))
    .sort()

const ODD = ['\x01\x7f', '\xff\xfe not utf-8', 'a\nnewline', ' ', '-rf', '\\134', 'caf\xc3\xa9', '.wh', '...']

const names = topic('names', {
  'are bytes': {
    prepare: (d) => {
      for (const name of ODD) fs.writeFileSync(bytes(d, name), name, 'latin1')
    },
    run: (d) => {
      deepEqual(listBytes(d), [...ODD].sort())
      for (const name of ODD) {
        equal(fs.readFileSync(bytes(d, name), 'latin1'), name)
        fs.renameSync(bytes(d, name), bytes(d, `${name}!`))
      }
      deepEqual(listBytes(d), ODD.map((name) => `${name}!`).sort())
      for (const name of ODD) fs.unlinkSync(bytes(d, `${name}!`))
      deepEqual(listBytes(d), [])
    },
  },
  'of 255 bytes work in every call': {
    prepare: (d) => write(d, `P${'p'.repeat(254)}`),
    run: (d) => {
      const before = `P${'p'.repeat(254)}`
      const long = 'n'.repeat(255)
      fs.appendFileSync(join(d, before), '!')
      fs.renameSync(join(d, before), join(d, long))
      equal(read(d, long), `${before}!`)
      fs.linkSync(join(d, long), join(d, 'm'.repeat(255)))
      mkdir(d, 'd'.repeat(255))
      fs.symlinkSync('x', join(d, 's'.repeat(255)))
      equal(list(d).length, 4)
      for (const letter of 'mns') fs.unlinkSync(join(d, letter.repeat(255)))
      fs.rmdirSync(join(d, 'd'.repeat(255)))
      deepEqual(list(d), [])
    },
  },
  'of 256 bytes are ENAMETOOLONG': (d) => {
    fails(ENAMETOOLONG, () => lstat(d, 'n'.repeat(256)))
    fails(ENAMETOOLONG, () => mkdir(d, 'n'.repeat(256)))
    fails(ENAMETOOLONG, () => fs.symlinkSync('x', join(d, 'n'.repeat(256))))
  },
  'differ by case': {
    prepare: (d) => write(d, 'name', 'lower'),
    run: (d) => {
      fails(ENOENT, () => read(d, 'NAME'))
      write(d, 'NAME', 'upper')
      deepEqual([read(d, 'name'), read(d, 'NAME')], ['lower', 'upper'])
    },
  },
  'in layers do not leave the inode numbers of others': {
    prepare: (d) => {
      for (let i = 0; i < 50; i++) write(d, `f${i}`)
    },
    run: (d) => {
      const inos = list(d).map((name) => lstat(d, name).ino)
      equal(new Set(inos).size, 50)
      ok(inos.every((ino) => ino > 0n))
    },
  },
})

export const listing = [...readdir, ...names]
