import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ENOENT, O_RDONLY, O_WRONLY, PATH_MAX } from '../../src/abi/linux.js'
import { Opened } from '../../src/vfs.js'
import type { Client } from './client.js'
import { Stack } from './stacks.js'

// rename(2): whoever opens a name that is replaced meanwhile gets the old file or the new one.
let s: Stack
let c: Client
beforeEach(() => {
  s = new Stack()
  fs.writeFileSync(path.join(s.lower, 'below'), 'below')
  fs.symlinkSync('target', path.join(s.lower, 'link'))
  c = s.open()
  c.write('above', 'above')
  c.write('new', 'new')
})
afterEach(() => s.remove())

const descriptors = (): number => fs.readdirSync('/proc/self/fd').length

/** What a node reads as that was looked up before its name went elsewhere; -errno. */
function late(node: number): string | number {
  const out = new Opened()
  const r = c.fs.open(c.caller, node, O_RDONLY, false, out)
  if (r < 0) return r
  const text = c.pread({ node, fh: out.fh }, 100).toString()
  c.fs.release(node, out.fh)
  return text
}

describe('a file that was looked up before another took its name', () => {
  it.each(['below', 'above'])('is opened as it was: one from %s', (name) => {
    const before = descriptors()
    const node = c.node(name)
    c.rename('new', name)
    expect(late(node)).toBe(name)
    expect(c.statNode(node)).toMatchObject({ size: 5, nlink: 0 })
    expect(c.text(name)).toBe('new')
    c.forgetAll()
    expect(descriptors()).toBe(before)
  })

  it('is read, if a symlink', () => {
    const node = c.node('link')
    c.symlink('another', 'newer')
    c.rename('newer', 'link')
    const dst = Buffer.alloc(PATH_MAX)
    expect(dst.toString('latin1', 0, c.fs.readlink(node, dst))).toBe('target')
    expect(c.readlink('link')).toBe('another')
  })

  it('takes a descriptor only while the kernel knows it', () => {
    c.forgetAll()
    const before = descriptors()
    c.rename('new', 'above')
    expect(descriptors()).toBe(before)
  })

  it('has a name again where it has another link', () => {
    fs.linkSync(path.join(s.lower, 'below'), path.join(s.lower, 'link2'))
    const node = c.node('below')
    c.rename('new', 'below')
    expect(late(node)).toBe('below')
    expect(c.node('link2')).toBe(node)
    const reader = c.open('link2', O_RDONLY)
    c.with('link2', O_WRONLY, (writer) => c.pwrite(writer, 'BELOW'))
    expect(c.pread(reader, 100).toString()).toBe('BELOW')
    c.release(reader)
    expect(fs.readFileSync(path.join(s.lower, 'below'), 'utf8')).toBe('below')
  })

  it('is none when it was removed: nothing took its place', () => {
    const node = c.node('above')
    c.unlink('above')
    expect(late(node)).toBe(-ENOENT)
  })
})
