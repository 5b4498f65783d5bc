import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

describe('the lock of an upper', () => {
  it('is waited for: umount(8) returns before the daemon that held it has ended', async () => {
    stack = new Stack()
    const holder = spawn('flock', [stack.upper, 'sh', '-c', 'echo held; sleep 0.3'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(holder, 'close')
    await once(holder.stdout, 'data')
    stack.open().write('file', 'written')
    expect((await ended)[0]).toBe(0)
  })
})
