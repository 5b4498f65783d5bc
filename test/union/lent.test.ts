import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ESTALE, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFREG } from '../../src/abi/linux.js'
import { runJob } from '../../src/union/job.js'
import { Attr, type Job, NO_FH, Opened, PARKED, type Result, SetAttr } from '../../src/vfs.js'
import { type Client, Errno } from './client.js'
import { Stack } from './stacks.js'

const LARGE = 256 * 1024
const SMALL = 128 * 1024

let s: Stack
let c: Client
const file = (name: string, size: number): void =>
  fs.writeFileSync(path.join(s.lower, name), Buffer.alloc(size, 'o'))
const start = (lowers = true): void => {
  c = s.open({}, { passthrough: true, lowers })
}
beforeEach(() => {
  s = new Stack()
  file('large', LARGE)
  file('small', SMALL)
})
afterEach(() => s.remove())

/** Whether an open offers the kernel a file to read by itself. */
function offers(name: string): boolean {
  const out = new Opened()
  const node = c.node(name)
  expect(c.fs.open(c.caller, node, O_RDONLY, false, out)).toBe(0)
  c.fs.release(node, out.fh)
  return out.backing >= 0
}

/** What a call answers of which the kernel is to come again, and what it answers then. */
function comesAgain(call: () => unknown): void {
  let errno = 0
  try {
    call()
  } catch (error) {
    errno = error instanceof Errno ? error.errno : -1
  }
  expect(errno).toBe(ESTALE)
  call()
}

describe('a file of a lower that the kernel reads by itself', () => {
  it('is large, has one name, and is in no upper', () => {
    file('linked', LARGE)
    fs.linkSync(path.join(s.lower, 'linked'), path.join(s.lower, 'other'))
    file('raised', LARGE)
    start()
    c.chmod('raised', 0o600)
    expect(offers('large')).toBe(true)
    expect(offers('small')).toBe(false)
    expect(offers('linked')).toBe(false)
    // One of the upper does not move, so nothing has to be parted.
    const reader = c.open('raised', O_RDONLY)
    const writer = c.open('raised', O_WRONLY)
    expect(writer.node).toBe(reader.node)
    c.release(reader)
    c.release(writer)
  })

  it('is none unless asked for', () => {
    start(false)
    expect(offers('large')).toBe(false)
  })

  const changes: Record<string, () => unknown> = {
    'opened to write': () => c.with('large', O_RDWR, (f) => c.pwrite(f, 'new')),
    'opened with O_TRUNC': () => c.with('large', O_WRONLY | O_TRUNC, (f) => c.pwrite(f, 'new')),
    truncated: () => c.setattr('large', Object.assign(new SetAttr(), { size: 3 })),
    linked: () => c.link('large', 'second'),
  }
  for (const [what, change] of Object.entries(changes)) {
    it(`stays as it is for who has it open when it is ${what}`, () => {
      start()
      const before = c.stat('large')
      const reader = c.open('large', O_RDONLY)
      comesAgain(change)
      const after = c.entry('large')
      expect(after.node).not.toBe(reader.node)
      expect(after.attr.ino).toBe(before.ino)
      expect(c.pread(reader, 3).toString()).toBe('ooo')
      expect(c.statNode(reader.node)).toMatchObject({ size: LARGE, nlink: 1, ino: before.ino })
      c.release(reader)
      expect(fs.readFileSync(path.join(s.lower, 'large')).equals(Buffer.alloc(LARGE, 'o'))).toBe(true)
    })
  }

  it('is not lent again once it was parted, so that a writer among readers has to come again once only', () => {
    start()
    const reader = c.open('large', O_RDONLY)
    expect(() => c.open('large', O_WRONLY)).toThrow()
    // The kernel forgets what it had asked for, and others read before the writer is back.
    c.forgetAll()
    expect(offers('large')).toBe(false)
    const second = c.open('large', O_RDONLY)
    c.with('large', O_WRONLY, (f) => c.pwrite(f, 'new'))
    expect(c.pread(second, 3).toString()).toBe('new')
    expect(c.pread(reader, 3).toString()).toBe('ooo')
    c.release(second)
    c.release(reader)
  })

  it('is one file again once nobody has it open', () => {
    start()
    const reader = c.open('large', O_RDONLY)
    c.release(reader)
    c.with('large', O_WRONLY, (f) => {
      expect(f.node).toBe(reader.node)
      c.pwrite(f, 'new')
    })
    expect(c.text('large').slice(0, 4)).toBe('newo')
  })

  it('may have its mode changed, be moved and be removed while it is open', () => {
    file('moved', LARGE)
    start()
    const reader = c.open('large', O_RDONLY)
    c.chmod('large', 0o600)
    c.rename('large', 'elsewhere')
    comesAgain(() => c.with('elsewhere', O_WRONLY, (f) => c.pwrite(f, 'new')))
    expect(c.stat('elsewhere').mode & 0o777).toBe(0o600)
    expect(c.text('elsewhere').slice(0, 4)).toBe('newo')
    c.release(reader)
    const removed = c.open('moved', O_RDONLY)
    c.unlink('moved')
    expect(c.pread(removed, 3).toString()).toBe('ooo')
    // Through /proc, where no name can be looked up again, there is no way to write it.
    const out = new Opened()
    expect(c.fs.open(c.caller, removed.node, O_RDWR, false, out)).toBe(-ESTALE)
    c.release(removed)
  })

  it('is kept for who has it without having it open: bound by mount(2), or by O_PATH', () => {
    start()
    c.chmod('large', 0o600)
    c.chmod('large', 0o644)
    file('bound', LARGE)
    const reader = c.open('bound', O_RDONLY)
    c.chmod('bound', 0o640)
    comesAgain(() => c.with('bound', O_WRONLY, (f) => c.pwrite(f, 'new')))
    c.release(reader)
    expect(c.statNode(reader.node)).toMatchObject({ size: LARGE, mode: S_IFREG | 0o644 })
    const out = new Opened()
    expect(c.fs.open(c.caller, reader.node, O_RDONLY, false, out)).toBe(0)
    expect(c.pread({ node: reader.node, fh: out.fh }, 3).toString()).toBe('ooo')
    c.fs.release(reader.node, out.fh)
    expect(c.text('bound').slice(0, 4)).toBe('newo')
  })

  it.each([false, true])('takes no change any more that would miss its name, metacopy: %s', (metacopy) => {
    c = s.open({ metacopy }, { passthrough: true, lowers: true })
    const lower = path.join(s.lower, 'large')
    const before = fs.statSync(lower)
    const reader = c.open('large', O_RDONLY)
    c.chmod('large', 0o600)
    comesAgain(() => c.release(c.open('large', O_WRONLY)))
    const { node } = reader
    const attr = new Attr()
    for (const set of [{ mode: 0o640 }, { uid: 7 }, { mtime: 1 }])
      expect(c.fs.setattr(c.caller, node, reader.fh, Object.assign(new SetAttr(), set), attr)).toBe(-ESTALE)
    expect(c.fs.setxattr(c.caller, node, 'user.x', Buffer.from('v'), 0, false)).toBe(-ESTALE)
    expect(() => c.linkNode(node, 'second')).toThrow()
    expect(c.stat('large').mode & 0o777).toBe(0o600)
    c.release(reader)
    expect(fs.statSync(lower)).toMatchObject({ mode: before.mode, uid: before.uid, mtimeMs: before.mtimeMs })
  })

  it('is not parted before a copy-up that somebody else has under way', () => {
    file('huge', 8 << 20)
    start()
    const reader = c.open('huge', O_RDONLY)
    let copied: Result = PARKED
    const jobs: Job[] = []
    c.fs.employ({ awaited: () => true, start: (job) => jobs.push(job), take: () => copied })
    const attr = new Attr()
    const chmod = (): Result =>
      c.fs.setattr(c.caller, reader.node, NO_FH, Object.assign(new SetAttr(), { mode: 0o600 }), attr)
    const write = (): Result => c.fs.open(c.caller, reader.node, O_WRONLY, false, new Opened())
    expect(chmod()).toBe(PARKED)
    expect(write()).toBe(PARKED)
    copied = runJob(jobs[0] as Job)
    expect(chmod()).toBe(0)
    expect(write()).toBe(-ESTALE)
    expect(c.stat('huge')).toMatchObject({ size: 8 << 20, mode: S_IFREG | 0o600 })
    expect(fs.readdirSync(path.join(s.work, 'work'))).toEqual([])
    c.release(reader)
  })

  it('leaves no node and no descriptor behind', () => {
    start()
    const nodes = c.status('nodes')
    const descriptors = fs.readdirSync('/proc/self/fd').length
    const reader = c.open('large', O_RDONLY)
    comesAgain(() => c.with('large', O_WRONLY, (f) => c.pwrite(f, 'new')))
    c.release(reader)
    c.forgetAll()
    expect(c.status('nodes')).toBe(nodes)
    expect(fs.readdirSync('/proc/self/fd').length).toBe(descriptors)
  })

  it('is let go of when the mount is gone, though the kernel has not forgotten it', () => {
    const descriptors = fs.readdirSync('/proc/self/fd').length
    start()
    c.open('large', O_RDONLY)
    expect(() => c.open('large', O_WRONLY)).toThrow()
    s.close(c)
    expect(fs.readdirSync('/proc/self/fd').length).toBe(descriptors)
  })
})
