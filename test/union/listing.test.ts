import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Client } from './client.js'
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

  it.each([3, 33_000])('of %i names ends for a reader who gives each a new name, and skips none', (many) => {
    stack = new Stack()
    for (let i = 0; i < many; i++) fs.writeFileSync(path.join(stack.upper, `${i}`), '')
    const c = stack.open()
    const seen: string[] = []
    for (let cookie = 0; ; ) {
      const some = c.readdir('', cookie, false, 5000)
      cookie = some.at(-1)?.next ?? 0
      if (many < 30_000) expect(cookie).toBeLessThan(2 ** 31)
      const names = some.map(({ name }) => name).filter((name) => !name.startsWith('.'))
      seen.push(...names)
      for (const name of names.slice(0, 5)) {
        c.rename(name, `${name} renamed`)
        c.write(`${name} made`, '')
      }
      if (some.length === 0) break
      expect(seen.length).toBeLessThanOrEqual(many)
    }
    expect(new Set(seen).size).toBe(many)
    expect(c.list().length).toBeGreaterThan(many)
  })

  it('gives an entry at every place below its last one, whether a reader was told of it or not (generic/676)', () => {
    stack = new Stack()
    plant(stack.upper, Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${i}`, ''])))
    const c = stack.open()
    const all = c.readdir('', 0, false, 1000)
    expect(all.length).toBe(52)
    const told = all.map(({ next }) => next)
    expect(told).toEqual([...told].sort((a, b) => a - b))
    const last = told.at(-2) ?? 0
    for (let cookie = 1; cookie < last; cookie += 1009)
      expect(c.readdir('', cookie, false, 1).length, `${cookie}`).toBe(1)
    for (const [i, cookie] of told.entries())
      expect(c.readdir('', cookie, false, 1)[0]?.name).toBe(all[i + 1]?.name)
  })

  it('tells which of its entries have been looked up and not been forgotten', () => {
    stack = new Stack()
    plant(stack.lower, { dir: { one: '1', two: '2', three: '3' } })
    const c = stack.open()
    const held = (): string[] => {
      const names: string[] = []
      let name = ''
      const room = (next: string) => {
        name = next
        return true
      }
      const wants = (_type: number, known: boolean) => {
        if (known) names.push(name)
        return false
      }
      c.fs.readdir(c.caller, c.node('dir'), 0, { room, wants, add: () => {} })
      return names.sort()
    }
    expect(held()).toEqual([])
    c.stat('dir/two')
    expect(held()).toEqual(['two'])
    c.readdir('dir', 0, true)
    expect(held()).toEqual(['one', 'three', 'two'])
    c.forgetAll()
    expect(held()).toEqual([])
  })

  it('of an empty directory ends', () => {
    stack = new Stack()
    const c = stack.open()
    const dots = c.readdir('', 0, false, 10)
    expect(dots.map(({ name }) => name)).toEqual(['.', '..'])
    expect(c.readdir('', dots[1]?.next ?? 0, false, 10)).toEqual([])
  })

  it('that was dropped meanwhile is read on to its end', () => {
    stack = new Stack()
    for (let i = 0; i < 20; i++) fs.writeFileSync(path.join(stack.lower, `${i}`), '')
    const c = new Client({ lower: [stack.lower], ephemeral: true })
    const some = c.readdir('', 0, false, 7)
    for (let i = 0; i < 5; i++) c.write(`new ${i}`, '')
    expect(c.fs.reload?.()).toBe(0)
    const rest = c.readdir('', some.at(-1)?.next)
    const seen = [...some, ...rest].map(({ name }) => name)
    c.close()
    expect(seen).toEqual(expect.arrayContaining(Array.from({ length: 20 }, (_, i) => `${i}`)))
  })
})
