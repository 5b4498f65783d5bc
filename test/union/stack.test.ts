import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ENOENT, EROFS, S_IFCHR, S_IFIFO, S_IFMT } from '../../src/abi/linux.js'
import { mknod, setxattr } from '../support/sys.js'
import { errnoOf } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

/** `top` over `bottom`, both lowers. */
const two = (top: Parameters<typeof plant>[1], bottom: Parameters<typeof plant>[1]): [string, string] => {
  stack = new Stack(2)
  plant(stack.lowers[0] as string, top)
  plant(stack.lowers[1] as string, bottom)
  return [stack.lowers[0] as string, stack.lowers[1] as string]
}

/** What `list`, `exists` and a lookup before any listing say of one directory must agree. */
function names(dir: string): string[] {
  const c = stack.readOnly()
  const listed = c.list(dir)
  const d = stack.readOnly()
  const candidates = new Set([...listed, ...stack.lowers.flatMap((l) => safe(path.join(l, dir)))])
  const found = [...candidates].filter((name) => d.exists(path.join(dir, name))).sort()
  expect(found).toEqual(listed)
  const plus = d
    .readdir(dir, 0, true)
    .map((e) => e.name)
    .filter((n) => n !== '.' && n !== '..')
    .sort()
  expect(plus).toEqual(listed)
  stack.close(c)
  stack.close(d)
  return listed
}
const safe = (dir: string): string[] =>
  fs.existsSync(dir) && fs.statSync(dir).isDirectory() ? fs.readdirSync(dir) : []

describe('a stack', () => {
  it('of 600 lowers shows each one', () => {
    stack = new Stack(600)
    stack.lowers.forEach((lower, i) => {
      plant(lower, { [`file${i}`]: `${i}`, shared: `${i}`, dir: { [`f${i}`]: `${i}` } })
    })
    const c = stack.open()
    expect(c.list('').length).toBe(602)
    expect(c.list('dir').length).toBe(600)
    expect(c.text('shared')).toBe('0')
    expect(c.text('file599')).toBe('599')
    expect(c.text('dir/f300')).toBe('300')
    c.append('dir/f599', 'x')
    c.unlink('dir/f0')
    const d = stack.reopen(c)
    expect(d.text('dir/f599')).toBe('599x')
    expect(d.list('dir').length).toBe(599)
  })

  it('shows the topmost of each name and merges directories', () => {
    two({ a: 'top', d: { x: 'top', only: 't' } }, { a: 'bottom', b: 'b', d: { x: 'bottom', y: 'y' } })
    expect(names('')).toEqual(['a', 'b', 'd'])
    expect(names('d')).toEqual(['only', 'x', 'y'])
    const c = stack.open()
    expect([c.text('a'), c.text('d/x'), c.text('d/y')]).toEqual(['top', 'top', 'y'])
  })

  it('without an upper refuses every change with EROFS', () => {
    two({ a: 'a' }, { d: {} })
    const c = stack.readOnly()
    for (const change of [
      () => c.write('new', ''),
      () => c.append('a', 'x'),
      () => c.mkdir('m'),
      () => c.unlink('a'),
      () => c.rmdir('d'),
      () => c.rename('a', 'b'),
      () => c.link('a', 'b'),
      () => c.symlink('a', 'b'),
      () => c.mknod('p', S_IFIFO | 0o600),
      () => c.chmod('a', 0o600),
      () => c.setxattr('a', 'user.x', 'y'),
    ])
      expect(errnoOf(change)).toBe(EROFS)
  })

  for (const [form, hide] of Object.entries<(dir: string, name: string) => void>({
    'a device 0/0': (dir, name) => mknod(path.join(dir, name), S_IFCHR, 0),
    'a .wh. file': (dir, name) => fs.writeFileSync(path.join(dir, `.wh.${name}`), ''),
    'a trusted xattr on an empty file': (dir, name) => xattrWhiteout(dir, name, 'trusted'),
    'a user xattr on an empty file': (dir, name) => xattrWhiteout(dir, name, 'user'),
  }))
    it(`takes ${form} for a whiteout of a file and of a directory`, () => {
      const [top] = two(
        { d: {} },
        { f: 'f', g: { h: 'h' }, kept: 'k', d: { f: 'f', g: { h: 'h' }, kept: 'k' } },
      )
      for (const dir of [top, path.join(top, 'd')]) {
        hide(dir, 'f')
        hide(dir, 'g')
      }
      expect(names('')).toEqual(['d', 'kept'])
      expect(names('d')).toEqual(['kept'])
      const c = stack.open()
      for (const dir of ['', 'd/']) {
        expect(errnoOf(() => c.entry(`${dir}g/h`))).toBe(ENOENT)
        c.write(`${dir}f`, 'new')
        c.mkdir(`${dir}g`)
        expect(c.list(`${dir}g`)).toEqual([])
        expect(c.text(`${dir}f`)).toBe('new')
      }
      const d = stack.reopen(c)
      expect(d.list('d')).toEqual(['f', 'g', 'kept'])
      expect(d.list('g')).toEqual([])
    })

  it('takes an empty file with the whiteout xattr for a file where the directory does not say it holds such', () => {
    const [top] = two({}, { f: 'f' })
    fs.writeFileSync(path.join(top, 'f'), '')
    setxattr(path.join(top, 'f'), 'trusted.overlay.whiteout', 'y')
    const c = stack.open()
    expect(c.text('f')).toBe('')
  })

  for (const [form, mark] of Object.entries<(dir: string) => void>({
    'trusted.overlay.opaque': (dir) => setxattr(dir, 'trusted.overlay.opaque', 'y'),
    'user.overlay.opaque': (dir) => setxattr(dir, 'user.overlay.opaque', 'y'),
    'user.fuseoverlayfs.opaque': (dir) => setxattr(dir, 'user.fuseoverlayfs.opaque', 'y'),
    '.wh..wh..opq': (dir) => fs.writeFileSync(path.join(dir, '.wh..wh..opq'), ''),
  })) {
    it(`takes ${form} for an opaque directory`, () => {
      const [top] = two({ d: { new: 'n' } }, { d: { old: 'o' }, e: 'e' })
      mark(path.join(top, 'd'))
      expect(names('d')).toEqual(['new'])
      expect(names('')).toEqual(['d', 'e'])
    })

    it(`lets ${form} of an ancestor cut what lies below, whoever is asked first`, () => {
      const [top] = two({ a: { b: { c: { new: 'n' } } } }, { a: { b: { c: { old: 'o' } }, f: 'f' } })
      mark(path.join(top, 'a'))
      expect(names('a/b/c')).toEqual(['new'])
      expect(names('a')).toEqual(['b'])
      const c = stack.open()
      expect(errnoOf(() => c.entry('a/b/c/old'))).toBe(ENOENT)
      c.write('a/b/c/more', 'm')
      expect(stack.reopen(c).list('a/b/c')).toEqual(['more', 'new'])
    })

    it(`ends the stack where ${form} is on the root of a layer`, () => {
      const [top] = two({ new: 'n' }, { old: 'o' })
      mark(top)
      expect(names('')).toEqual(['new'])
    })
  }

  it('hides no entry of the same layer by its .wh. file', () => {
    two({ f: 'top', '.wh.f': '', d: { x: 'x' }, '.wh.d': '' }, { f: 'bottom', d: { y: 'y' } })
    expect(names('')).toEqual(['d', 'f'])
    expect(names('d')).toEqual(['x'])
    expect(stack.open().text('f')).toBe('top')
  })

  it('ends the merge at a file, a symlink or a whiteout in between', () => {
    stack = new Stack(4)
    const outside = path.join(stack.dir, 'outside')
    fs.mkdirSync(outside)
    fs.writeFileSync(path.join(outside, 'secret'), 's')
    const [a, b, c, d] = stack.lowers as [string, string, string, string]
    for (const name of ['file', 'link', 'gone']) {
      for (const lower of [a, c, d]) plant(lower, { [name]: { [path.basename(lower)]: 'x' } })
    }
    fs.writeFileSync(path.join(b, 'file'), '')
    fs.symlinkSync(outside, path.join(b, 'link'))
    mknod(path.join(b, 'gone'), S_IFCHR, 0)
    for (const name of ['file', 'link', 'gone']) expect(names(name)).toEqual(['lower0'])
  })

  it('follows no symlink of a layer, not in the middle of a path either', () => {
    stack = new Stack(2)
    const outside = path.join(stack.dir, 'outside')
    plant(stack.dir, { outside: { d: { secret: 's' } } })
    plant(stack.lowers[0] as string, { d: { x: 'x' } })
    fs.symlinkSync(outside, path.join(stack.lowers[1] as string, 'link'))
    const c = stack.open()
    expect(c.stat('link').mode & S_IFMT).toBe(0o120000)
    expect(errnoOf(() => c.entry('link/d'))).not.toBe(0)
  })
})

function xattrWhiteout(dir: string, name: string, namespace: string): void {
  fs.writeFileSync(path.join(dir, name), '')
  setxattr(path.join(dir, name), `${namespace}.overlay.whiteout`, 'y')
  setxattr(dir, `${namespace}.overlay.opaque`, 'x')
}
