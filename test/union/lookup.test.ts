import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ENAMETOOLONG, ENOENT, NAME_MAX, S_IFCHR } from '../../src/abi/linux.js'
import { mknod, setxattr } from '../support/sys.js'
import { errnoOf } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

describe('lookup', () => {
  it('tells names that are too long from names that are not there, listed or not', () => {
    stack = new Stack()
    plant(stack.lower, { dir: { file: 'f' } })
    plant(stack.upper, { dir: {} })
    const c = stack.open()
    for (const listed of [false, true]) {
      if (listed) c.list('dir')
      expect(errnoOf(() => c.stat(`dir/${'x'.repeat(NAME_MAX)}`))).toBe(ENOENT)
      expect(errnoOf(() => c.stat(`dir/${'x'.repeat(NAME_MAX + 1)}`))).toBe(ENAMETOOLONG)
    }
  })

  it('reads a directory in which it is asked often, once the questions outweigh its size', () => {
    stack = new Stack(3)
    const names = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, `${i}`]))
    plant(stack.lowers[2] as string, { small: names(20), large: names(1000) })
    plant(stack.lowers[1] as string, { small: { mid: 'm' }, large: {} })
    const c = stack.open()
    const ask = (dir: string, times: number): unknown => {
      for (let i = 0; i < times; i++) expect(errnoOf(() => c.stat(`${dir}/none${i}`))).toBe(ENOENT)
      return c.status('listings')
    }
    c.node('large')
    const before = ask('small', 1) as number
    expect(ask('small', 1)).toBe(before + 1)
    expect(ask('large', 32)).toBe(before + 1)
    expect(ask('large', 32)).toBe(before + 2)
    expect(c.text('small/f7')).toBe('7')
    expect(c.text('small/mid')).toBe('m')
    expect(c.text('large/f999')).toBe('999')
  })

  it('knows what has been made, hidden and made again in a directory it has read, in either form', () => {
    for (const form of ['overlay', 'oci'] as const) {
      stack = new Stack(2)
      plant(stack.lowers[1] as string, { dir: { a: 'a', b: 'b', sub: { deep: 'd' } } })
      plant(stack.lower, { dir: { b: 'upper b' } })
      let c = stack.open({ whiteouts: form })
      c.mkdir('new')
      c.write('new/f', 'f')
      for (let i = 0; i < 4; i++) expect(c.exists('dir/none')).toBe(false)
      c.unlink('dir/b')
      c.unlink('dir/sub/deep')
      c.rmdir('dir/sub')
      c.rename('dir/a', 'dir/moved')
      c.mkdir('dir/sub')
      c.write('dir/b', 'new b')
      c.unlink('new/f')
      c.write('new/f', 'again')
      for (let turn = 0; turn < 2; turn++) {
        expect(c.list('dir').sort()).toEqual(['b', 'moved', 'sub'])
        expect(c.list('dir/sub')).toEqual([])
        expect(c.text('dir/b')).toBe('new b')
        expect(c.text('new/f')).toBe('again')
        expect(errnoOf(() => c.stat('dir/a'))).toBe(ENOENT)
        expect(errnoOf(() => c.stat('dir/sub/deep'))).toBe(ENOENT)
        c = stack.reopen(c, { whiteouts: form })
      }
      stack.close(c)
      if (form === 'overlay') stack.remove()
    }
  })

  it('heeds marks of the OCI form in directories that are listed first, and where none stand', () => {
    stack = new Stack(2)
    plant(stack.lowers[1] as string, { dir: { sub: { f: 'f' }, kept: {}, gone: {} } })
    plant(stack.lower, { dir: { '.wh.gone': '', sub: { '.wh..wh..opq': '', g: 'g' } } })
    const c = stack.open()
    for (let turn = 0; turn < 2; turn++) {
      expect(c.list('dir').sort()).toEqual(['kept', 'sub'])
      expect(c.list('dir/sub')).toEqual(['g'])
      expect(errnoOf(() => c.stat('dir/gone'))).toBe(ENOENT)
      expect(errnoOf(() => c.stat('dir/sub/f'))).toBe(ENOENT)
      expect(c.list('dir/kept')).toEqual([])
    }
  })

  it('finds the same directories by a listing as without one, whatever ends or leads on their merge', () => {
    stack = new Stack(4)
    const [a, b, c, d] = stack.lowers as [string, string, string, string]
    const names = [
      'all',
      'file',
      'link',
      'device',
      'opaque',
      'mark',
      'ociOpaque',
      'gap',
      'moved',
      'absolute',
      'last',
      'ociLast',
    ]
    const sub = (file: string) => ({ [file]: file, deep: { [file]: file } })
    for (const [layer, file] of [a, b, c, d].entries())
      plant(file, { dir: Object.fromEntries(names.map((name) => [name, sub(`of${layer}`)])) })
    const drop = (layer: string, name: string) =>
      fs.rmSync(path.join(layer, 'dir', name), { recursive: true })
    for (const name of ['file', 'link', 'device']) drop(b, name)
    fs.writeFileSync(path.join(b, 'dir/file'), '')
    fs.symlinkSync('all', path.join(b, 'dir/link'))
    mknod(path.join(b, 'dir/device'), S_IFCHR, 0)
    setxattr(path.join(b, 'dir/opaque'), 'trusted.overlay.opaque', 'y')
    plant(b, { dir: { '.wh.mark': '', ociOpaque: { '.wh..wh..opq': '' } } })
    for (const layer of [b, c]) drop(layer, 'gap')
    setxattr(path.join(b, 'dir/moved'), 'trusted.overlay.redirect', 'before')
    setxattr(path.join(b, 'dir/absolute'), 'trusted.overlay.redirect', '/elsewhere/far')
    plant(c, { dir: { before: sub('before') }, elsewhere: { far: sub('far') } })
    for (const layer of [c, d]) for (const name of ['last', 'ociLast']) drop(layer, name)
    for (const name of ['last', 'ociLast'])
      setxattr(path.join(b, 'dir', name), 'trusted.overlay.redirect', 'before')
    plant(b, { dir: { ociLast: { '.wh..wh..opq': '' } } })

    const merged = (listed: boolean): Record<string, unknown> => {
      const client = stack.open({ redirect: 'on' })
      if (listed) client.readdir('dir', 0, true)
      const found = Object.fromEntries(
        [...names, 'before'].map((name) => {
          const { ino, nlink } = client.stat(`dir/${name}`)
          return [
            name,
            {
              ino,
              nlink,
              files: client.list(`dir/${name}`).sort(),
              deep: client.list(`dir/${name}/deep`).sort(),
            },
          ]
        }),
      )
      stack.close(client)
      return found
    }
    const found = merged(true)
    expect(found).toEqual(merged(false))
    const files = Object.fromEntries(
      Object.entries(found).map(([name, f]) => [name, (f as { deep: string[] }).deep]),
    )
    expect(files).toEqual({
      all: ['of0', 'of1', 'of2', 'of3'],
      file: ['of0'],
      link: ['of0'],
      device: ['of0'],
      opaque: ['of0', 'of1'],
      mark: ['of0', 'of1'],
      ociOpaque: ['of0', 'of1'],
      gap: ['of0', 'of3'],
      moved: ['before', 'of0', 'of1'],
      absolute: ['far', 'of0', 'of1'],
      last: ['before', 'of0', 'of1'],
      ociLast: ['of0', 'of1'],
      before: ['before'],
    })
  })
})
