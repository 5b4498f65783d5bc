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
})
