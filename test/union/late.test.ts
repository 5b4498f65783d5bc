import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { O_CREAT, O_RDWR } from '../../src/abi/linux.js'
import { statx } from '../support/sys.js'
import type { Client, OpenFile } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

/** Data that a kernel with a writeback cache kept and writes on its own: it has the times, and tells of changed ones. */
const late = (c: Client, file: OpenFile, data: string): void => c.pwrite(file, data, 0, undefined, true)
const onDisk = (name: string): [number, number] => {
  const { mtime, mtimeNs } = statx(path.join(stack.upper, name))
  return [mtime, mtimeNs]
}
const pause = (): void => {
  // Two ticks of the coarsest clock, so that a write moves the time.
  const end = performance.now() + 25
  while (performance.now() < end);
}

describe('data that is written late', () => {
  it('leaves a new file the time of its creation, which the kernel has', () => {
    stack = new Stack()
    const c = stack.open()
    const file = c.open('f', O_CREAT | O_RDWR)
    const { mtime, mtimeNs } = c.statNode(file.node)
    pause()
    late(c, file, 'data')
    c.release(file)
    expect(onDisk('f')).toEqual([mtime, mtimeNs])
    expect(c.text('f')).toBe('data')
  })

  it('leaves a file the time that the kernel has told since, or none', () => {
    stack = new Stack()
    plant(stack.lower, { f: 'content' })
    fs.utimesSync(path.join(stack.lower, 'f'), 5, 5)
    const c = stack.open()
    const file = c.open('f', O_RDWR)
    late(c, file, 'one')
    c.release(file)
    expect(onDisk('f')).toEqual([5, 0])
    const again = c.open('f', O_RDWR)
    late(c, again, 'two')
    c.setattr('f', { mtime: 7, mtimeNs: 8 }, again)
    late(c, again, 'three')
    c.release(again)
    expect(onDisk('f')).toEqual([7, 8])
  })

  it('does not hide a write that was not late', () => {
    stack = new Stack()
    plant(stack.upper, { f: 'content' })
    fs.utimesSync(path.join(stack.upper, 'f'), 5, 5)
    const c = stack.open()
    const file = c.open('f', O_RDWR)
    late(c, file, 'one')
    c.pwrite(file, 'two')
    c.release(file)
    expect(onDisk('f')[0]).toBeGreaterThan(1e9)
  })
})
