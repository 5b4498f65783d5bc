import { afterEach, describe, expect, it } from 'vitest'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

describe('a listing', () => {
  it('ends for a reader who renames each entry away and back', () => {
    stack = new Stack()
    plant(stack.upper, { one: '1', two: '2', three: '3' })
    const c = stack.open()
    const seen: string[] = []
    for (let cookie = 0; seen.length < 20; ) {
      const [next] = c.readdir('', cookie, false, 1)
      if (next === undefined) break
      cookie = next.next
      seen.push(next.name)
      if (next.name.startsWith('.')) continue
      c.rename(next.name, 'away')
      c.rename('away', next.name)
    }
    expect(seen.sort()).toEqual(['.', '..', 'one', 'three', 'two'])
    expect(c.list().sort()).toEqual(['one', 'three', 'two'])
  })
})
