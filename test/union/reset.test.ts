import { afterEach, expect, it } from 'vitest'
import type { Notifier } from '../../src/vfs.js'
import { Client } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

/** Counts what the kernel is told to forget. */
class Told implements Notifier {
  count = 0
  attributes(): void {
    this.count++
  }
  pages(): void {
    this.count++
  }
  epoch(): void {}
  entry(): void {
    this.count++
  }
  remove(): void {
    this.count++
  }
}

it('a reset does as much as there are changes, whatever the lowers hold and the kernel knows', () => {
  const told: number[] = []
  for (const files of [10, 2000]) {
    stack = new Stack()
    const names = Array.from({ length: files }, (_, i) => [`f${i}`, `${i}`] as const)
    plant(stack.lower, { many: Object.fromEntries(names), other: { g: 'g' } })
    const c = new Client({ lower: [stack.lower], ephemeral: true })
    const notifier = new Told()
    c.fs.attach(notifier)
    c.walk(() => {})
    const [known, listings] = [c.status('nodes'), c.status('listings')]
    c.append('many/f1', 'x')
    c.unlink('many/f2')
    c.write('many/new', 'n')
    notifier.count = 0
    expect(c.fs.reset()).toBe(0)
    told.push(notifier.count)
    // What has not changed is still known, and nothing was listed for it.
    expect(c.status('nodes')).toBeGreaterThan((known as number) - 5)
    expect(c.status('listings')).toBe(listings)
    expect(c.text('many/f1')).toBe('1')
    expect(c.text('many/f2')).toBe('2')
    expect(c.exists('many/new')).toBe(false)
    c.close()
    if (files === 10) stack.remove()
  }
  expect(told[0]).toBe(told[1])
})
