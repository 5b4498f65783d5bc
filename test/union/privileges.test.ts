import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { O_WRONLY } from '../../src/abi/linux.js'
import type { NodeId } from '../../src/vfs.js'
import { ROOT_CALLER } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

describe('a write that takes the set-user-id bit', () => {
  it('tells the kernel, which keeps the mode through writes', () => {
    stack = new Stack()
    plant(stack.lower, { file: 'old' })
    fs.chmodSync(path.join(stack.lower, 'file'), 0o4755)
    const c = stack.open()
    const told: NodeId[] = []
    const nothing = (): void => {}
    c.fs.attach?.({
      attributes: (node) => told.push(node),
      epoch: nothing,
      pages: nothing,
      entry: nothing,
      remove: nothing,
    })
    const file = c.open('file', O_WRONLY)
    c.pwrite(file, 'new', 0, ROOT_CALLER)
    c.pwrite(file, 'new', 0, ROOT_CALLER)
    c.release(file)
    expect(c.stat('file').mode & 0o7777).toBe(0o755)
    expect(told).toEqual([c.node('file')])
  })
})
