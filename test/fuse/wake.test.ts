import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BEAT, CELLS, TID } from '../../src/fuse/link.js'
import type { Waiter } from '../../src/fuse/waiter.js'
import { waiter } from '../../src/fuse/wake.js'
import { Watch, Watched } from '../../src/fuse/watch.js'
import { gettid, runWhenIdle } from '../../src/sys/thread.js'

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
      wait.heard(process.pid, performance.now(), 0)
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

  it('follows once it has waited in vain too often, and tries again later', () => {
    const answerSlowly = slowClient()
    answerSlowly(128)
    expect(spins()).toBe(false)
    queue(512)
    answer(512)
    expect(spins()).toBe(true)
    queue(4096)
    answer(4096)
    expect(spins()).toBe(true)
  })

  it('follows longer each time that it is faster', () => {
    const answerSlowly = slowClient()
    answerSlowly(128)
    queue(512)
    answer(512)
    answerSlowly(128)
    expect(spins()).toBe(false)
    queue(1024)
    answer(1023)
    expect(spins()).toBe(false)
    answer(1)
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

/** Field 41 of proc(5)'s stat: 0 is SCHED_OTHER, 5 is SCHED_IDLE. */
const policy = (): string | undefined =>
  fs
    .readFileSync('/proc/thread-self/stat', 'latin1')
    .replace(/^.*\) /, '')
    .split(' ')[38]

describe('a thread that leaves its processor to its caller', () => {
  let dir: string
  let fd: number
  let wait: Waiter
  let now: number
  const one = Buffer.alloc(1)
  const watch = {
    willing: true,
    rescued: false,
    idle: true,
    processorIdle: () => watch.idle,
    ask: () => watch.willing,
    served: () => {},
    dismiss: () => {
      watch.rescued = false
    },
  }

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'layerfs-wake-'))
    expect(spawnSync('mkfifo', [path.join(dir, 'fifo')]).status).toBe(0)
    fd = fs.openSync(path.join(dir, 'fifo'), fs.constants.O_RDWR)
    Object.assign(watch, { willing: true, idle: true, rescued: false })
    wait = waiter('adaptive', fd, watch)
    now = 0
  })
  afterEach(() => {
    wait.close()
    fs.closeSync(fd)
    fs.rmSync(dir, { recursive: true })
    expect(policy()).toBe('0')
  })

  /** Answers queued requests, `apart` milliseconds one after the other, for `bytes` of a file each. */
  const serve = (requests: number, apart = 0.01, bytes = 0): void => {
    fs.writeSync(fd, Buffer.alloc(requests))
    for (let i = 0; i < requests; i++) {
      expect(wait.read(one)).toBe(1)
      now += apart
      wait.heard(process.pid, now, bytes)
    }
  }
  /** Who yields has hardly a turn where all processors are busy: hence no more of it than it takes. */
  const settle = (): void => {
    for (let i = 0; i < 64 && policy() === '0'; i++) serve(128)
    expect(policy()).toBe('5')
  }

  it('tries that, and goes on while requests come faster by it', () => {
    serve(127)
    expect(policy()).toBe('0')
    serve(1)
    expect(policy()).toBe('5')
    serve(256, 0.009)
    expect(policy()).toBe('5')
  })

  it('stops when they do not, and tries again after a while', () => {
    settle()
    serve(128)
    expect(policy()).toBe('5')
    serve(128)
    expect(policy()).toBe('0')
    serve(256)
    expect(policy()).toBe('0')
    settle()
  })

  it('forgives one slow term', () => {
    settle()
    serve(128, 0.02)
    serve(128, 0.005)
    serve(128, 0.02)
    expect(policy()).toBe('5')
  })

  it('compares anew even what is faster', () => {
    settle()
    for (let terms = 0; policy() === '5'; terms++) {
      expect(terms).toBeLessThan(8)
      serve(128, 0.005)
    }
  })

  it('does not unwatched', () => {
    watch.willing = false
    serve(8192)
    expect(policy()).toBe('0')
  })

  it('does not for large reads and writes, and stops when they come', () => {
    serve(8192, 0.01, 128 * 1024)
    expect(policy()).toBe('0')
    settle()
    serve(128, 0.005, 128 * 1024)
    expect(policy()).toBe('0')
    settle()
  })

  it('does not where no processor is idle', () => {
    watch.idle = false
    serve(8192)
    expect(policy()).toBe('0')
  })

  it('stops when requests come late, and tries again after a while', () => {
    settle()
    serve(8, 3)
    expect(policy()).toBe('0')
    settle()
  })

  it('stops when it had to be rescued', () => {
    settle()
    watch.rescued = true
    serve(1)
    expect(policy()).toBe('0')
  })

  it('can be told to, always', () => {
    const forced = waiter('yield', fd)
    expect(policy()).toBe('5')
    forced.close()
    expect(policy()).toBe('0')
  })
})

describe('the watch over a thread that yields', () => {
  const spare = { exists: () => true, close: () => {} }
  const cells = (): Int32Array => new Int32Array(new SharedArrayBuffer(CELLS * 4))
  const until = async (what: () => boolean): Promise<void> => {
    while (!what()) await sleep(1)
  }

  it('is heard while the thread moves, and gives one that does not its turn', async () => {
    const shared = cells()
    shared[TID] = gettid()
    const watch = new Watch(shared)
    const watched = new Watched(shared, spare, () => watch.start())
    await until(() => {
      watched.served()
      return watched.ask(performance.now())
    })
    expect(watched.rescued).toBe(false)
    expect(runWhenIdle()).toBe(0)
    await until(() => watched.rescued)
    expect(policy()).toBe('0')
    watch.stop()
    watched.close()
  })

  it('stops when it is not needed', async () => {
    const shared = cells()
    const watch = new Watch(shared)
    const watched = new Watched(shared, spare, () => watch.start())
    await until(() => {
      watched.served()
      return watched.ask(performance.now())
    })
    watched.dismiss()
    await sleep(50)
    const beats = shared[BEAT]
    await sleep(50)
    expect(shared[BEAT]).toBe(beats)
    watched.close()
  })
})
