import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Waiter, waiter } from '../../src/fuse/wake.js'

/** A pipe stands for /dev/fuse, a byte for a request. */
describe('a thread that finds out how to wait', () => {
  let dir: string
  let fifo: string
  let fd: number
  let wait: Waiter
  let writer: ChildProcess | undefined
  let opened: number[]
  const one = Buffer.alloc(1)

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'layerfs-wake-'))
    fifo = path.join(dir, 'fifo')
    expect(spawnSync('mkfifo', [fifo]).status).toBe(0)
    opened = []
    fd = fs.openSync(fifo, fs.constants.O_RDWR)
    wait = waiter('adaptive', fd)
  })
  afterEach(() => {
    wait.close()
    writer?.kill('SIGKILL')
    writer = undefined
    for (const each of [fd, ...opened]) fs.closeSync(each)
    fs.rmSync(dir, { recursive: true })
  })

  /** Spinning asks a descriptor that does not block: O_NONBLOCK, 04000, among the flags of proc(5)'s fdinfo. */
  const spins = (): boolean => {
    const flags = /^flags:\s*(\d+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
    return (Number.parseInt(flags ?? '0', 8) & 0o4000) !== 0
  }
  const answer = (requests: number): void => {
    for (let i = 0; i < requests; i++) {
      expect(wait.read(one)).toBe(1)
      wait.heard(process.pid, performance.now())
    }
  }
  const queue = (requests: number): void => void fs.writeSync(fd, Buffer.alloc(requests))
  /** A client that sends its next request a millisecond after it was told to: much later than anybody spins. */
  const slowClient = (): ((requests: number) => void) => {
    const go = path.join(dir, 'go')
    expect(spawnSync('mkfifo', [go]).status).toBe(0)
    const script = `const fs = require('fs'); const one = Buffer.alloc(1)
      const go = fs.openSync(${JSON.stringify(go)}, 'r'); const fd = fs.openSync(${JSON.stringify(fifo)}, 'w')
      const cell = new Int32Array(new SharedArrayBuffer(4))
      while (fs.readSync(go, one) > 0) { Atomics.wait(cell, 0, 0, 1); fs.writeSync(fd, 'x') }`
    writer = spawn(process.execPath, ['-e', script], { stdio: 'ignore' })
    const told = fs.openSync(go, 'w')
    opened.push(told)
    return (requests) => {
      for (let i = 0; i < requests; i++) {
        fs.writeSync(told, 'x')
        answer(1)
      }
    }
  }

  it('spins while requests are there when it asks', () => {
    expect(spins()).toBe(true)
    queue(20_000)
    answer(20_000)
    expect(spins()).toBe(true)
  })

  it('blocks once it has waited in vain too often, and tries again later', () => {
    const answerSlowly = slowClient()
    answerSlowly(128)
    expect(spins()).toBe(false)
    queue(1024)
    answer(1024)
    expect(spins()).toBe(true)
    queue(4096)
    answer(4096)
    expect(spins()).toBe(true)
  })

  it('rests longer each time that spinning fails', () => {
    const answerSlowly = slowClient()
    answerSlowly(128)
    queue(1024)
    answer(1024)
    answerSlowly(128)
    expect(spins()).toBe(false)
    queue(2048)
    answer(1024)
    expect(spins()).toBe(false)
    answer(1024)
    expect(spins()).toBe(true)
  })

  it('leaves the processors of the thread as they were', () => {
    const allowed = (): string | undefined =>
      /^Cpus_allowed:\s*(\S+)$/m.exec(fs.readFileSync('/proc/thread-self/status', 'latin1'))?.[1]
    const before = allowed()
    slowClient()(300)
    expect(spins()).toBe(false)
    wait.close()
    expect(allowed()).toBe(before)
  })
})
