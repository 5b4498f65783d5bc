import { beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import { Bench, str, u32, u64 } from './wire.js'

let b: Bench
/** What the engine offers with the next opens. */
let offer = -1

beforeEach(() => {
  b = new Bench({ passthrough: true })
  b.init()
  b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFREG | 0o666, 0, 0, 0), str('f'))
  const { open } = b.fs
  b.fs.open = (c, node, flags, kill, out) => {
    const r = open.call(b.fs, c, node, flags, kill, out)
    out.backing = offer
    return r
  }
  offer = 9
})

const FILE = 2

function open(): { fh: number; flags: number; id: number } {
  const { error, body } = b.ask(F.FUSE_OPEN, FILE, u32(L.O_RDWR, 0))
  expect(error).toBe(0)
  return { fh: Number(body.readBigUInt64LE(0)), flags: body.readUInt32LE(8), id: body.readUInt32LE(12) }
}
const release = (fh: number) => expect(b.ask(F.FUSE_RELEASE, FILE, u64(fh), u32(0, 0), u64(0)).error).toBe(0)

const THROUGH = F.FOPEN_PASSTHROUGH | F.FOPEN_NOFLUSH
const CACHED = F.FOPEN_KEEP_CACHE | F.FOPEN_NOFLUSH

describe('passthrough', () => {
  it('registers one backing file for a node, and lets it go with the last open', () => {
    const first = open()
    const second = open()
    expect(first).toMatchObject({ flags: THROUGH, id: 101 })
    expect(second).toMatchObject({ flags: THROUGH, id: 101 })
    expect(b.kernel.registered).toEqual([9])
    release(first.fh)
    expect(b.kernel.closed).toEqual([])
    release(second.fh)
    expect(b.kernel.closed).toEqual([101])
    expect(open()).toMatchObject({ id: 102 })
  })

  it('lets the kernel keep no times of a file that may be written through a mapping', () => {
    const kept = (): bigint => b.ask(F.FUSE_GETATTR, FILE, u32(0, 0), u64(0)).body.readBigUInt64LE(0)
    expect(kept()).toBeGreaterThan(0n)
    const before = b.kernel.sent.length
    const { fh } = open()
    const notice = b.kernel.sent[before] as Buffer
    expect(notice.readInt32LE(F.OUT.error)).toBe(F.FUSE_NOTIFY_INVAL_INODE)
    expect(Number(notice.readBigUInt64LE(F.OUT_HEADER))).toBe(FILE)
    expect(kept()).toBe(0n)
    release(fh)
    expect(kept()).toBeGreaterThan(0n)
  })

  it('stays with the backing file of the first open while that lasts', () => {
    open()
    offer = -1
    expect(open()).toMatchObject({ flags: THROUGH, id: 101 })
    offer = 10
    expect(open()).toMatchObject({ flags: THROUGH, id: 101 })
  })

  it('stays with the page cache while a node is open through it', () => {
    offer = -1
    const first = open()
    expect(first).toMatchObject({ flags: CACHED, id: 0 })
    offer = 9
    const second = open()
    expect(second).toMatchObject({ flags: CACHED, id: 0 })
    release(first.fh)
    release(second.fh)
    expect(open()).toMatchObject({ flags: THROUGH })
  })

  it('does without for a file that the kernel refuses, not for the next', () => {
    b.kernel.refuse = -L.ELOOP
    const first = open()
    expect(first).toMatchObject({ flags: CACHED, id: 0 })
    release(first.fh)
    b.kernel.refuse = 0
    expect(open()).toMatchObject({ flags: THROUGH })
    expect(b.session.status().passthrough).toEqual({ enabled: true, granted: 1, refused: 1 })
  })

  it('does without for good where this process may not', () => {
    b.kernel.refuse = -L.EPERM
    release(open().fh)
    b.kernel.refuse = 0
    expect(open()).toMatchObject({ flags: CACHED, id: 0 })
    expect(b.kernel.registered).toEqual([])
    expect(b.session.status().passthrough).toEqual({ enabled: false, granted: 0, refused: 1 })
  })

  it('registers nothing where the kernel did not agree', () => {
    const plain = new Bench()
    plain.init()
    expect(plain.session.status().passthrough).toEqual({ enabled: false, granted: 0, refused: 0 })
  })
})
