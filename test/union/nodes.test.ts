import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ENOENT, ESTALE, O_RDONLY, O_RDWR } from '../../src/abi/linux.js'
import { openDirectories } from '../../src/union/loc.js'
import { NO_FH, ROOT } from '../../src/vfs.js'
import { type Client, errnoOf } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

const open = (tree: Parameters<typeof plant>[1], lowers = 1): Client => {
  stack = new Stack(lowers)
  plant(stack.lower, tree)
  return stack.open()
}

describe('nodes', () => {
  it('end when the kernel forgets them', () => {
    const c = open({ a: { b: { c: 'c', d: 'd' }, e: 'e' }, f: 'f' })
    c.walk(() => {})
    expect(c.status('nodes')).toBe(7)
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
  })

  it('end whatever has been done to them', () => {
    const c = open({ dir: { one: '1', two: '2' }, gone: 'g', moved: 'm', kept: 'k' })
    c.append('dir/one', 'x')
    c.unlink('gone')
    c.rename('moved', 'dir/moved')
    c.link('kept', 'dir/linked')
    c.write('dir/new', 'n')
    c.mkdir('made')
    c.rmdir('made')
    c.rename('dir', 'other')
    c.release(c.tmpfile(''))
    c.walk(() => {})
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
    expect(c.status('openFiles')).toBe(0)
    expect(c.text('other/one')).toBe('1x')
  })

  it('keep few descriptors where they are read unopened, and none once forgotten', () => {
    const MANY = 1500
    const files = Object.fromEntries([...Array(MANY).keys()].map((i) => [`f${i}`, `text ${i}`]))
    stack = new Stack()
    plant(stack.lower, files)
    const c = stack.readOnly()
    const dst = Buffer.alloc(16)
    const before = fs.readdirSync('/proc/self/fd').length
    const held = (): number => fs.readdirSync('/proc/self/fd').length - before
    for (const [name, text] of Object.entries(files)) {
      expect(c.fs.read(c.node(name), NO_FH, dst, 0)).toBe(text.length)
      expect(dst.toString('latin1', 0, text.length)).toBe(text)
    }
    expect(held()).toBeGreaterThan(0)
    expect(held()).toBeLessThanOrEqual(1024)
    c.forgetAll()
    expect(held()).toBe(0)
    expect(c.fs.read(ROOT, NO_FH, dst, 0)).toBe(-ESTALE)
  })

  it('leave no descriptor behind when the mount ends, nor does a refused one', () => {
    const c = open({ a: { b: { c: 'c' } }, d: { e: {} } }, 2)
    c.walk(() => {})
    c.append('a/b/c', 'x')
    c.rename('d', 'f')
    c.open('a/b/c', O_RDONLY)
    const before = fs.readdirSync('/proc/self/fd').length
    stack.close(c)
    expect(openDirectories()).toBe(0)
    const closed = fs.readdirSync('/proc/self/fd').length
    expect(closed).toBeLessThan(before)
    expect(() => stack.open({ work: path.join(stack.dir, 'missing') })).toThrow('no such directory')
    const again = stack.open()
    expect(() => stack.open({ work: fs.mkdtempSync(path.join(stack.dir, 'work')) })).toThrow('in use')
    stack.close(again)
    expect(fs.readdirSync('/proc/self/fd').length).toBe(closed)
    stack.close(stack.open())
  })

  it('of a directory stay while something below it is known', () => {
    const c = open({ a: { b: 'b' } })
    const a = c.node('a')
    const b = c.node('a/b')
    c.fs.forget(a, c.lookups.get(a) as number)
    c.lookups.delete(a)
    expect(c.statNode(b).size).toBe(1)
    expect(c.status('nodes')).toBe(2)
    expect(c.status('idleDirectories')).toBe(1)
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
  })

  it('of directories stay for a while, the latest of them, and are found again', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`d${i}`, { f: `${i}` }]))
    const c = open({ many })
    c.walk(() => {})
    const last = c.node('many/d4999')
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
    expect(c.status('idleDirectories')).toBe(4096)
    expect(c.node('many/d4999')).toBe(last)
    for (const i of [0, 17, 4998]) expect(c.text(`many/d${i}/f`)).toBe(`${i}`)
    c.unlink('many/d4999/f')
    c.rmdir('many/d4999')
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
    expect(c.exists('many/d4999')).toBe(false)
    expect(c.list('many')).toHaveLength(4999)
  })

  it('forgotten while open are read to the end', () => {
    const c = open({ f: 'content' })
    const file = c.open('f', O_RDONLY)
    c.unlink('f')
    expect(c.pread(file, 100).toString()).toBe('content')
    expect(c.statNode(file.node).nlink).toBe(0)
    c.release(file)
  })

  it('that reuse an id have another generation', () => {
    const c = open({ a: 'a', b: 'b' })
    const first = c.entry('a')
    c.forgetAll()
    const second = c.entry('b')
    expect(second.node).toBe(first.node)
    expect(second.generation).not.toBe(first.generation)
  })

  it('forgotten are answered ESTALE', () => {
    const c = open({ a: 'a' })
    const node = c.node('a')
    c.forgetAll()
    expect(() => c.statNode(node)).toThrow('ESTALE')
  })

  it('created and removed a thousand times leave nothing', () => {
    const c = open({ dir: {} })
    for (let i = 0; i < 1000; i++) {
      c.write(`dir/${i % 7}`, 'x')
      c.unlink(`dir/${i % 7}`)
    }
    c.forgetAll()
    expect(c.status('nodes')).toBe(1)
    expect(fs.readdirSync(path.join(stack.upper, 'dir'))).toEqual([])
    expect(fs.readdirSync(path.join(stack.work, 'work'))).toEqual([])
  })

  it('of an unlinked open file keep its changes', () => {
    const c = open({ f: 'content' })
    const file = c.open('f', O_RDWR)
    c.unlink('f')
    c.pwrite(file, 'C')
    c.setattr('', { mode: 0o600, size: 4 }, file)
    expect(c.pread(file, 100).toString()).toBe('Cont')
    expect(c.statNode(file.node).mode & 0o7777).toBe(0o600)
    c.write('f', 'new')
    expect(c.pread(file, 100).toString()).toBe('Cont')
    c.release(file)
    expect(c.text('f')).toBe('new')
  })

  it('of a lower file unlinked while open for reading take chmod, chown, times and truncation', () => {
    const c = open({ f: 'content' })
    const file = c.open('f', O_RDONLY)
    c.unlink('f')
    c.setattr('', { mode: 0o640 }, file)
    c.setattr('', { uid: 12, gid: 34 }, file)
    c.setattr('', { mtime: 5, mtimeNs: 6 }, file)
    c.setattr('', { size: 3 }, { ...file, fh: -1 })
    const attr = c.statNode(file.node)
    expect(attr).toMatchObject({ mode: 0o100640, uid: 12, gid: 34, size: 3, nlink: 0 })
    expect(c.pread(file, 100).toString()).toBe('con')
    c.release(file)
  })

  it('opened and removed directories are empty and take nothing new', () => {
    const c = open({ dir: {} })
    const node = c.node('dir')
    c.rmdir('dir')
    expect(c.readdirNode(node)).toEqual([])
    expect(c.statNode(node).nlink).toBe(0)
    expect(errnoOf(() => c.entry('dir'))).toBe(ENOENT)
  })
})
