import { afterEach, describe, expect, it } from 'vitest'
import { ENAMETOOLONG, ENOENT, NAME_MAX } from '../../src/abi/linux.js'
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
})
