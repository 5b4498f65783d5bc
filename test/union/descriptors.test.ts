import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { O_RDONLY, O_RDWR, O_WRONLY, SEEK_DATA } from '../../src/abi/linux.js'
import { Opened } from '../../src/vfs.js'
import { plainUser } from '../support/identity.js'
import { type Client, errnoOf, type OpenFile } from './client.js'
import { plant, Stack } from './stacks.js'

let s: Stack
let c: Client
beforeEach(() => {
  s = new Stack()
  plant(s.lower, { f: 'lower', other: 'other', d: { in: 'inside' } })
  c = s.open()
})
afterEach(() => s.remove())

const count = (): number => fs.readdirSync('/proc/self/fd').length
const text = (file: OpenFile): string => c.pread(file, 100).toString()

/** Opens a file of the lower once more, and sees that it takes no descriptor. */
function again(name: string): OpenFile {
  c.read(name)
  const before = count()
  const file = c.open(name, O_RDONLY)
  expect(count()).toBe(before)
  return file
}

describe.each(['lower', 'upper'])('a file of the %s that is opened once more', (layer) => {
  beforeEach(() => {
    if (layer === 'upper') for (const name of ['f', 'other', 'd/in']) c.chmod(name, 0o640)
  })

  it('takes a descriptor when it is read, and gives it back', () => {
    const before = count()
    const file = again('f')
    expect(text(file)).toBe('lower')
    expect(count()).toBeGreaterThan(before)
    c.release(file)
    const second = again('f')
    c.release(second)
    expect(count()).toBe(before)
    expect(c.status('openFiles')).toBe(0)
  })

  it('takes one at once where it was opened for the first time, or is written', () => {
    const before = count()
    const first = c.open('other', O_RDONLY)
    expect(count()).toBe(before + 1)
    const writer = c.open('f', O_RDWR)
    expect(count()).toBeGreaterThanOrEqual(before + 2)
    for (const file of [first, writer]) c.release(file)
  })

  it('can be searched, synced and copied from', () => {
    const file = again('f')
    expect(c.fs.lseek(file.node, file.fh, 2, SEEK_DATA)).toBe(2)
    expect(c.fs.fsync(file.node, file.fh, false)).toBe(0)
    c.release(file)
    const from = again('f')
    const to = c.open('other', O_WRONLY)
    expect(c.fs.copyFileRange(from.node, from.fh, 1, to.node, to.fh, 0, 3, undefined)).toBe(3)
    for (const f of [from, to]) c.release(f)
    expect(c.text('other')).toBe('oweer')
  })

  const losses: Record<string, () => void> = {
    removed: () => c.unlink('f'),
    replaced: () => c.rename('other', 'f'),
    'renamed and removed': () => {
      c.rename('f', 'd/moved')
      c.unlink('d/moved')
    },
    'removed from the lower after that': () => {
      c.unlink('f')
      fs.unlinkSync(path.join(s.lower, 'f'))
    },
  }
  for (const [what, lose] of Object.entries(losses)) {
    it(`is still there for who has it open when it is ${what}`, () => {
      const file = again('f')
      lose()
      expect(text(file)).toBe('lower')
      expect(c.statNode(file.node)).toMatchObject({ size: 5, nlink: 0 })
      const out = new Opened()
      expect(c.fs.open(c.caller, file.node, O_RDWR, false, out)).toBe(0)
      c.pwrite({ node: file.node, fh: out.fh }, 'new')
      expect(text(file)).toBe('newer')
      c.fs.release(file.node, out.fh)
      c.release(file)
    })
  }

  it('is opened anew without a name, whoever else has it open', () => {
    const first = again('f')
    c.unlink('f')
    const out = new Opened()
    expect(c.fs.open(c.caller, first.node, O_RDONLY, false, out)).toBe(0)
    c.release(first)
    const second = { node: first.node, fh: out.fh }
    expect(text(second)).toBe('lower')
    c.release(second)
  })

  it.each([false, true])('shows what is written after its copy-up, metacopy: %s', (metacopy) => {
    c = s.reopen(c, { metacopy })
    const file = again('f')
    c.chmod('f', 0o600)
    expect(c.fs.fsync(file.node, file.fh, false)).toBe(0)
    c.append('f', '!')
    expect(text(file)).toBe('lower!')
    c.release(file)
  })

  it('is still there when a reset takes the directory that it was moved to', () => {
    c = s.reopen(c, { ephemeral: true, upper: undefined, work: undefined } as never)
    c.mkdir('made')
    c.rename('d', 'made/d')
    const file = again('made/d/in')
    expect(c.fs.reset?.()).toBe(1)
    expect(errnoOf(() => c.read('made/d/in'))).not.toBe(0)
    expect(text(file)).toBe('inside')
    c.release(file)
  })
})

describe('the daemon of a plain user', () => {
  const closed = (name: string): void => {
    const { uid } = plainUser()
    for (const at of [s.lower, path.join(s.lower, 'f'), s.upper, s.work, path.join(s.work, 'work')])
      fs.chownSync(at, uid, -1)
    process.seteuid?.(uid)
    try {
      c = s.reopen(c, { xattrs: 'user' })
      c.caller = { ...c.caller, uid }
      c.write('made', 'upper')
      const before = count()
      c.read(name)
      const file = c.open(name, O_RDONLY)
      // Of a lower nothing changes the mode.
      expect(count() > before).toBe(name === 'made')
      c.setattr(name, { mode: 0 })
      expect(text(file)).toBe(name === 'made' ? 'upper' : 'lower')
      c.release(file)
    } finally {
      process.seteuid?.(0)
    }
  }

  it.each(['f', 'made'])('goes on reading a file that its owner closes to himself meanwhile: %s', closed)
})
