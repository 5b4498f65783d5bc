/** Set-id bits: who loses them by what, and what a directory's gives. */
import fs from 'node:fs'
import {
  asMortal,
  asUser,
  deepEqual,
  equal,
  giveToMortal,
  join,
  lstat,
  MORTAL,
  mkdir,
  perms,
  topic,
  withUmask,
  write,
} from '../kit.js'

/** A group that nobody is in but by a case's wish. */
const GROUP = 9999

/** Ways to change a file's data. */
const CHANGES: Record<string, (file: string) => void> = {
  write: (file) => fs.appendFileSync(file, 'd'),
  truncate: (file) => fs.truncateSync(file, 1),
  empty: (file) => fs.writeFileSync(file, ''),
}

function prepareGroupFiles(d: string): void {
  for (const name of Object.keys(CHANGES)) {
    write(d, name, 'abc')
    fs.chownSync(join(d, name), 1, GROUP)
    fs.chmodSync(join(d, name), 0o6666)
  }
}

const setidBits = topic('set-id bits', {
  'go when somebody writes': {
    needs: 'mortal',
    prepare: (d) => {
      write(d, 'f', 'abc', 0o666)
      giveToMortal(join(d, 'f'))
      fs.chmodSync(join(d, 'f'), 0o6777)
    },
    run: (d) => {
      asMortal(() => fs.appendFileSync(join(d, 'f'), 'd'))
      equal(perms(d, 'f'), 0o777)
    },
  },
  'go when somebody truncates': {
    needs: 'mortal',
    prepare: (d) => {
      for (const name of ['path', 'open']) {
        write(d, name, 'abc')
        giveToMortal(join(d, name))
        fs.chmodSync(join(d, name), 0o6777)
      }
    },
    run: (d) => {
      asMortal(() => {
        fs.truncateSync(join(d, 'path'), 1)
        fs.writeFileSync(join(d, 'open'), '')
      })
      deepEqual([perms(d, 'path'), perms(d, 'open')], [0o777, 0o777])
    },
  },
  'stay when root writes': {
    needs: 'root',
    prepare: (d) => write(d, 'f', 'abc', 0o6777),
    run: (d) => {
      fs.appendFileSync(join(d, 'f'), 'd')
      equal(perms(d, 'f'), 0o6777)
    },
  },
  'go when the owner changes': {
    needs: 'root',
    prepare: (d) => write(d, 'f', 'abc', 0o6777),
    run: (d) => {
      fs.chownSync(join(d, 'f'), 1234, 1234)
      equal(perms(d, 'f'), 0o777)
    },
  },
  'of a file that its group may not execute: set-group-id goes when somebody outside the group changes data':
    {
      needs: 'root',
      prepare: prepareGroupFiles,
      run: (d) => {
        for (const [name, change] of Object.entries(CHANGES)) {
          asUser(1234, 1234, () => change(join(d, name)), [4321])
          deepEqual([name, perms(d, name)], [name, 0o666])
        }
      },
    },
  'of a file that its group may not execute: set-group-id stays when a member changes data': {
    needs: 'root',
    prepare: prepareGroupFiles,
    run: (d) => {
      for (const [name, change] of Object.entries(CHANGES)) {
        asUser(1234, 1234, () => change(join(d, name)), [4321, GROUP])
        deepEqual([name, perms(d, name)], [name, 0o2666])
        fs.chmodSync(join(d, name), 0o6666)
        asUser(1234, GROUP, () => change(join(d, name)))
        deepEqual([name, perms(d, name)], [name, 0o2666])
      }
    },
  },
  'of a file that its group may not execute: set-group-id stays when root changes the owner': {
    needs: 'root',
    prepare: prepareGroupFiles,
    run: (d) => {
      fs.chownSync(join(d, 'write'), 1, 2)
      equal(perms(d, 'write'), 0o2666)
    },
  },
  'of a directory stay when the owner changes': {
    needs: 'root',
    prepare: (d) => void mkdir(d, 'sub', 0o6755),
    run: (d) => {
      fs.chownSync(join(d, 'sub'), 1234, 1234)
      equal(perms(d, 'sub'), 0o6755)
    },
  },
})

/** A directory that all may write to and that gives its group to what is made in it. */
const groupDirectory = (d: string): void => {
  const sub = mkdir(d, 'sub')
  fs.chownSync(sub, 0, 4321)
  fs.chmodSync(sub, 0o2777)
}

const setgid = topic('setgid directories', {
  'give their group, and the bit to subdirectories': {
    needs: 'root',
    prepare: groupDirectory,
    run: (d) => {
      asUser(MORTAL, MORTAL, () => {
        write(d, 'sub/f')
        withUmask(0o022, () => fs.mkdirSync(join(d, 'sub/inner')))
        fs.symlinkSync('x', join(d, 'sub/l'))
      })
      for (const name of ['f', 'inner', 'l']) equal(lstat(d, `sub/${name}`).gid, 4321n)
      equal(perms(d, 'sub/inner'), 0o2755)
      equal(perms(d, 'sub/f'), 0o644)
    },
  },
  'drop setgid of a new file for who is not in the group': {
    needs: 'root',
    prepare: groupDirectory,
    run: (d) => {
      asUser(MORTAL, MORTAL, () =>
        withUmask(0, () => fs.closeSync(fs.openSync(join(d, 'sub/f'), 'wx', 0o2775))),
      )
      equal(perms(d, 'sub/f'), 0o775)
    },
  },
})

export const setid = [...setidBits, ...setgid]
