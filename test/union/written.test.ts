import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { EPERM, O_RDONLY, S_IFCHR, S_IFIFO } from '../../src/abi/linux.js'
import { getxattr, listxattr } from '../support/sys.js'
import { type Client, errnoOf } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

const tree = { f: 'f', d: { x: 'x', y: 'y', e: { z: 'z' } }, g: 'g' }

const open = (options: Parameters<Stack['open']>[0] = {}): Client => {
  stack = new Stack(1)
  plant(stack.lower, tree)
  return stack.open(options)
}
const upper = (...names: string[]): string => path.join(stack.upper, ...names)
const isDevice = (file: string): boolean => {
  const st = fs.lstatSync(file)
  return st.isCharacterDevice() && st.rdev === 0
}
const opaque = (dir: string, namespace = 'trusted'): boolean =>
  listxattr(dir).includes(`${namespace}.overlay.opaque`)

describe('an upper', () => {
  it('holds devices 0/0 as whiteouts, and none of what was never below', () => {
    const c = open()
    c.unlink('f')
    c.rename('g', 'd/g')
    c.write('new', 'n')
    c.unlink('new')
    c.write('new', 'n')
    c.rename('new', 'newer')
    c.unlink('d/e/z')
    c.rmdir('d/e')
    expect(fs.readdirSync(upper()).sort()).toEqual(['d', 'f', 'g', 'newer'])
    for (const name of ['f', 'g', 'd/e']) expect(isDevice(upper(name))).toBe(true)
    expect(stack.reopen(c).list('d')).toEqual(['g', 'x', 'y'])
  })

  it('declared for .wh. files holds those, and takes no such names from users', () => {
    const c = open({ whiteouts: 'oci' })
    c.unlink('f')
    c.rename('g', 'd/g')
    c.unlink('d/e/z')
    c.rmdir('d/e')
    expect(fs.readdirSync(upper()).sort()).toEqual(['.wh.f', '.wh.g', 'd'])
    expect(fs.readdirSync(upper('d')).sort()).toEqual(['.wh.e', 'g'])
    expect(errnoOf(() => c.write('.wh.x', ''))).toBe(EPERM)
    expect(errnoOf(() => c.mkdir('.wh.x'))).toBe(EPERM)
    expect(errnoOf(() => c.rename('d/x', '.wh.x'))).toBe(EPERM)
    expect(errnoOf(() => c.link('d/x', '.wh.x'))).toBe(EPERM)
    const d = stack.reopen(c)
    expect([d.list(''), d.list('d')]).toEqual([['d'], ['g', 'x', 'y']])
    d.write('f', 'new')
    d.mkdir('d/e')
    expect(fs.readdirSync(upper()).sort()).toEqual(['.wh.g', 'd', 'f'])
    const e = stack.reopen(d)
    expect([e.text('f'), e.list('d/e')]).toEqual(['new', []])
    // The form was declared at the first mount and stays.
    e.unlink('d/x')
    expect(fs.readdirSync(upper('d'))).toContain('.wh.x')
  })

  for (const whiteouts of ['overlay', 'oci'] as const)
    it(`of ${whiteouts} form marks a directory opaque only where something lies beneath`, () => {
      const c = open({ whiteouts })
      c.mkdir('plain')
      c.unlink('f')
      c.mkdir('f')
      for (const name of ['d/e/z', 'd/x', 'd/y']) c.unlink(name)
      c.rmdir('d/e')
      c.rmdir('d')
      c.mkdir('d')
      expect([opaque(upper('plain')), opaque(upper('f')), opaque(upper('d'))]).toEqual([false, true, true])
      expect(fs.readdirSync(upper('d'))).toEqual([])
      c.write('d/x', 'new')
      c.unlink('d/x')
      expect(fs.readdirSync(upper('d'))).toEqual([])
      expect(stack.reopen(c).list('d')).toEqual([])
    })

  it('in the user namespace of xattrs is marked by user.overlay alone', () => {
    const c = open({ xattrs: 'user' })
    c.unlink('f')
    c.mkdir('f')
    c.append('d/x', '!')
    for (const dir of ['', 'f', 'd', 'd/x'])
      for (const name of listxattr(upper(dir))) expect(name).toMatch(/^user\.overlay\./)
    expect(getxattr(upper('d'), 'user.overlay.impure').toString()).toBe('y')
    expect(stack.reopen(c, { xattrs: 'user' }).list('f')).toEqual([])
  })

  it('notes the origin of what was copied up, and that a directory holds such', () => {
    const c = open()
    c.append('d/e/z', '!')
    expect(listxattr(upper('d/e/z'))).toContain('trusted.overlay.origin')
    for (const dir of ['', 'd', 'd/e']) expect(listxattr(upper(dir))).toContain('trusted.overlay.impure')
    c.write('new', 'n')
    expect(listxattr(upper('new'))).toEqual([])
  })

  it('takes names of 255 bytes in every call', () => {
    const c = open()
    const [a, b, w] = ['a', 'b', '.wh.'].map((x) => x.padEnd(255, 'x')) as [string, string, string]
    for (const name of [a, b, w]) {
      c.write(name, name)
      c.append(name, '!')
      c.setxattr(name, 'user.x', 'y')
      c.mkdir(`d/${name}`)
      c.rmdir(`d/${name}`)
      c.rename(name, `d/${name}`)
      c.rename(`d/${name}`, name)
      c.unlink(name)
    }
    stack.close(c)
    for (const name of [a, b]) fs.writeFileSync(path.join(stack.lower, name), 'lower')
    const d = stack.open()
    d.append(a, '!')
    d.unlink(b)
    d.mkdir(b)
    const e = stack.reopen(d)
    expect([e.text(a), e.list(b)]).toEqual(['lower!', []])
  })

  it('never gets a device 0/0 from users, and no half-built file', () => {
    const c = open()
    expect(errnoOf(() => c.mknod('w', S_IFCHR | 0o644, 0))).toBe(EPERM)
    c.mknod('p', S_IFIFO | 0o644)
    expect(errnoOf(() => c.mknod('p', S_IFIFO | 0o644))).not.toBe(0)
    expect(errnoOf(() => c.with('missing', O_RDONLY, () => {}))).not.toBe(0)
    expect(fs.readdirSync(path.join(stack.work, 'work'))).toEqual([])
  })
})
