import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { O_RDONLY, O_RDWR } from '../../src/abi/linux.js'
import { getxattr, setxattr } from '../support/sys.js'
import { Client } from './client.js'
import { Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

/** A lower file `a` with the further names `b` and `d/c`. */
function open(metacopy = false): Client {
  stack = new Stack(1)
  fs.mkdirSync(path.join(stack.lower, 'd'))
  fs.writeFileSync(path.join(stack.lower, 'a'), 'content')
  for (const name of ['b', 'd/c']) fs.linkSync(path.join(stack.lower, 'a'), path.join(stack.lower, name))
  return stack.open({ index: true, metacopy })
}
const entries = (): string[] => fs.readdirSync(path.join(stack.work, 'index'))

describe('an indexed file', () => {
  it('is one for all its names, known or not, and counts them across mounts', () => {
    let c = open()
    c.append('a', '!')
    expect(c.text('d/c')).toBe('content!')
    expect(c.node('b')).toBe(c.node('a'))
    c.unlink('a')
    c = stack.reopen(c, { index: true })
    expect(c.stat('d/c')).toMatchObject({ nlink: 2, size: 8 })
    c.link('d/c', 'd/e')
    c.unlink('b')
    c.forgetAll()
    expect(c.stat('d/e').nlink).toBe(2)
    expect(c.stat('d/c').ino).toBe(c.stat('d/e').ino)
    c.unlink('d/e')
    expect(entries()).toHaveLength(1)
    c.unlink('d/c')
    expect(entries()).toEqual([])
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
  })

  it('outlives its names while it is open', () => {
    const c = open()
    const file = c.open('b', O_RDWR)
    for (const name of ['a', 'b', 'd/c']) c.unlink(name)
    expect(entries()).toEqual([])
    c.pwrite(file, 'C')
    c.setattr('', { mode: 0o600, size: 4 }, file)
    expect(c.pread(file, 100).toString()).toBe('Cont')
    expect(c.statNode(file.node)).toMatchObject({ mode: 0o100600, nlink: 0 })
    c.release(file)
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
  })

  it('is open under the one name and changed under the other', () => {
    const c = open()
    const file = c.open('d/c', O_RDONLY)
    c.append('b', '!')
    expect(c.pread(file, 100).toString()).toBe('content!')
    c.rename('b', 'd/c')
    expect(c.list()).toEqual(['a', 'b', 'd'])
    c.rename('d/c', 'moved')
    c.chmod('b', 0o640)
    expect(c.stat('moved')).toMatchObject({ mode: 0o100640, nlink: 3 })
    c.release(file)
  })

  it('is known whether an interrupted copy-up has linked its name or not', () => {
    let c = open()
    c.append('a', '!')
    stack.close(c)
    // The entry stood there, counted by the lower file's links, and the name was not linked yet.
    fs.unlinkSync(path.join(stack.upper, 'a'))
    const entry = path.join(stack.work, 'index', entries()[0] as string)
    expect(getxattr(entry, 'trusted.overlay.nlink').toString()).toBe('U+1')
    for (const note of ['L+0', 'U+2']) {
      fs.writeFileSync(entry, note)
      setxattr(entry, 'trusted.overlay.nlink', note)
      c = stack.open({ index: true })
      expect(c.stat('b').nlink).toBe(3)
      expect(c.text('a')).toBe(note)
      stack.close(c)
    }
    setxattr(entry, 'trusted.overlay.nlink', 'U-1')
    stack.close(stack.open({ index: true }))
    expect(entries()).toEqual([])
  })

  it('has its data below with metacopy until it is written, under whatever name', () => {
    let c = open(true)
    c.chmod('a', 0o600)
    c.rename('a', 'd/moved')
    expect(c.status('copiedBytes')).toBe(0)
    expect([c.text('d/c'), c.text('d/moved')]).toEqual(['content', 'content'])
    c = stack.reopen(c, { index: true, metacopy: true })
    expect(c.text('b')).toBe('content')
    c.append('d/c', '!')
    expect([c.text('b'), c.text('d/moved'), c.text('d/c')]).toEqual(['content!', 'content!', 'content!'])
    expect(c.stat('b')).toMatchObject({ mode: 0o100600, nlink: 3 })
  })
})

describe('a reset', () => {
  it('drops what the index led to', () => {
    open()
    const c = new Client({ lower: [stack.lower], ephemeral: true, index: true })
    for (let round = 0; round < 2; round++) {
      c.append('a', '!')
      c.unlink('b')
      const file = c.open('d/c', O_RDWR)
      c.pwrite(file, 'C')
      expect(c.fs.reset?.()).toBe(1)
      expect(c.pread(file, 100).toString()).toBe('Content!')
      expect(c.statNode(file.node).nlink).toBe(0)
      c.release(file)
      expect(c.list()).toEqual(['a', 'b', 'd'])
      for (const name of ['a', 'b', 'd/c']) {
        expect(c.text(name)).toBe('content')
        expect(c.stat(name).nlink).toBe(3)
      }
    }
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
    c.close()
  })
})

describe('a metacopy that is open', () => {
  for (const remove of ['unlink', 'rename'] as const)
    it(`has its data once ${remove} takes its last name`, () => {
      stack = new Stack(1)
      fs.writeFileSync(path.join(stack.lower, 'f'), 'content')
      fs.writeFileSync(path.join(stack.lower, 'other'), 'other')
      const c = stack.open({ metacopy: true })
      const file = c.open('f', O_RDONLY)
      c.chmod('f', 0o600)
      if (remove === 'unlink') c.unlink('f')
      else c.rename('other', 'f')
      c.setattr('', { size: 3 }, { ...file, fh: -1 })
      expect(c.pread(file, 100).toString()).toBe('con')
      expect(fs.readFileSync(path.join(stack.lower, 'f'), 'latin1')).toBe('content')
      c.release(file)
    })
})
