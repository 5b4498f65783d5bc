import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import { HelperThreads } from '../../src/fuse/helpers.js'
import type { Mount } from '../../src/index.js'
import { waitReadable } from '../../src/sys/device.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { MemFs } from '../support/memfs.js'
import { discard } from '../support/mounts.js'
import { Bench, parse, request, u32, u64 } from './wire.js'

const MiB = 1 << 20
/** READs of a region after which it is given whole. */
const ENOUGH = 12

/** Bytes that tell where they stand. */
function pages(size: number, salt: number): Buffer {
  const data = Buffer.alloc(size)
  for (let i = 0; i + 8 <= size; i += 8) {
    data.writeUInt32LE(i, i)
    data.writeUInt32LE(salt, i + 4)
  }
  return data
}

describe('a region that is read here and there', () => {
  const ENTRY = new URL('../../dist/bundle/helper.cjs', import.meta.url)
  const FILE = 7
  const data = pages(2 * MiB + 5000, 1)
  let dir: string
  let b: Bench
  let helpers: HelperThreads
  let source: number
  beforeEach(() => {
    dir = scratch('readaround')
    fs.writeFileSync(path.join(dir, 'data'), data)
    source = fs.openSync(path.join(dir, 'data'), 'r')
    helpers = new HelperThreads(ENTRY, () => false)
    b = new Bench({ helpers }, new MemFs(), fs.openSync(path.join(dir, 'device'), 'w+'))
    b.init()
    Object.assign(b.fs, { steadySource: (_node: number, fh: number) => (fh === 5 ? source : -L.EBADF) })
    b.fs.read = (_node, _fh, dst) => dst.fill('r').length
  })
  afterEach(async () => {
    await helpers.close()
    b.session.close()
    fs.closeSync(b.kernel.fd)
    fs.closeSync(source)
    discard(dir)
  })
  const read = (pos: number, count = 4096, fh = 5, flags = 0): void => {
    const answer = b.raw(
      request(F.FUSE_READ, FILE, [u64(fh), u64(pos), u32(count, 0), u64(0), u32(flags, 0)]),
    )
    expect(answer?.error).toBe(0)
  }
  const readMany = (region: number, times: number): void => {
    for (let i = 0; i < times; i++) read(region * MiB + ((i * 37) % 200) * 4096)
  }
  const given = (): unknown => b.session.status().readAround
  const ended = (): void => {
    expect(waitReadable(helpers.event, 20_000)).toBe(1)
    helpers.drain()
  }
  const device = (): Buffer => fs.readFileSync(path.join(dir, 'device'))

  it('is given whole, once it has been asked for often enough', () => {
    readMany(1, ENOUGH - 1)
    expect(given()).toBe(0)
    read(MiB + 4096)
    expect(given()).toBe(1)
    ended()
    const head = Buffer.concat([u32(16 + 24 + MiB, 4), u64(0), u64(FILE, MiB), u32(MiB, 0)])
    expect(device().subarray(0, 40)).toEqual(head)
    expect(
      device()
        .subarray(40)
        .equals(data.subarray(MiB, 2 * MiB)),
    ).toBe(true)
  })

  it('is given up to the end of the file', () => {
    readMany(2, ENOUGH)
    ended()
    expect(device().length).toBe(40 + 5000)
    expect(
      device()
        .subarray(40)
        .equals(data.subarray(2 * MiB)),
    ).toBe(true)
  })

  it('is counted by itself, and anew once it has been given', () => {
    for (let i = 0; i < ENOUGH - 1; i++) for (const region of [0, 1, 2]) read(region * MiB + i * 8192)
    expect(given()).toBe(0)
    read(0)
    expect(given()).toBe(1)
    readMany(0, ENOUGH - 1)
    expect(given()).toBe(1)
    read(0)
    expect(given()).toBe(2)
  })

  it('is not where the kernel reads ahead, nor for O_DIRECT, nor of a file that others may change', () => {
    for (let i = 0; i < 3 * ENOUGH; i++) {
      read(i * 4096, 65_536)
      read(i * 4096, 4096, 5, L.O_DIRECT)
      read(i * 4096, 4096, 6)
    }
    expect(given()).toBe(0)
  })

  /** A pipe for the device, which holds up the helper until it is emptied. */
  const held = (): { empty: () => void } => {
    execFileSync('mkfifo', [path.join(dir, 'pipe')])
    const pipe = fs.openSync(path.join(dir, 'pipe'), 'r+')
    const { fs: files } = b
    fs.closeSync(b.kernel.fd)
    b = new Bench({ helpers }, files, pipe)
    b.init()
    const message = Buffer.alloc(40 + MiB)
    const empty = (): void => {
      for (let n = 0; n < message.length; ) n += fs.readSync(pipe, message, n, message.length - n, null)
      ended()
    }
    return { empty }
  }

  it('goes to no other file: its number is not free until it is through', () => {
    const { empty } = held()
    const forgotten: [node: number, count: number][] = []
    b.fs.forget = (node, count) => void forgotten.push([node, count])
    readMany(0, ENOUGH)
    expect(given()).toBe(1)
    const forget = (node: number, count: number) =>
      expect(b.raw(request(F.FUSE_FORGET, node, [u64(count)]))).toBeUndefined()
    forget(FILE + 1, 1)
    forget(FILE, 2)
    const batch = [u32(2, 0), u64(FILE, 3, FILE + 2, 4)]
    expect(b.raw(request(F.FUSE_BATCH_FORGET, 0, batch))).toBeUndefined()
    expect(forgotten).toEqual([
      [FILE + 1, 1],
      [FILE + 2, 4],
    ])
    empty()
    forget(FILE + 3, 1)
    expect(forgotten.slice(2)).toEqual([
      [FILE, 2],
      [FILE, 3],
      [FILE + 3, 1],
    ])
  })

  it('holds up who would change the file until it is through, and nobody else', () => {
    const { empty } = held()
    b.fs.open = (_c, _node, _flags, _kill, out) => {
      out.fh = 3
      return 0
    }
    b.fs.setattr = () => 0
    readMany(0, ENOUGH)
    expect(given()).toBe(1)
    const open = (flags: number, node = FILE) => request(F.FUSE_OPEN, node, [u32(flags, 0)])
    const setattr = (valid: number) => request(F.FUSE_SETATTR, FILE, [u32(valid), Buffer.alloc(84)])
    const answered = (bytes: Buffer): boolean => b.raw(bytes) !== undefined
    expect(answered(open(L.O_RDONLY))).toBe(true)
    expect(answered(setattr(F.FATTR_MODE))).toBe(true)
    expect(answered(open(L.O_RDWR, FILE + 1))).toBe(true)
    for (const held of [open(L.O_RDWR), open(L.O_WRONLY), open(L.O_TRUNC), setattr(F.FATTR_SIZE)])
      expect(answered(held)).toBe(false)
    b.kernel.ended = 1
    b.session.run()
    expect(b.kernel.sent).toEqual([])

    empty()
    b.kernel.ended = 1
    b.session.run()
    expect(b.kernel.sent.map((reply) => parse(reply).error)).toEqual([0, 0, 0, 0])
  })
})

describe('large files of lowers', () => {
  let base: string
  let m: Mount
  const FILES = 4
  const SIZE = 3 * MiB + 1234
  const at = (...names: string[]) => path.join(base, ...names)
  const names = Array.from({ length: FILES }, (_, i) => `f${i}`)
  const mountIt = async (withUpper: boolean): Promise<void> => {
    const { mount } = await library()
    const { lower = [], mountpoint = '' } = stackIn(base)
    m = await mount(withUpper ? stackIn(base) : { lower, mountpoint })
  }
  beforeEach(() => {
    base = scratch('around')
    for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
    names.forEach((name, i) => {
      fs.writeFileSync(at('lower', name), pages(SIZE, i))
    })
  })
  afterEach(async () => {
    await m.unmount({ lazy: true }).catch(() => {})
    discard(base)
  })
  const reads = (): number => m.stats().ops.READ?.count ?? 0

  it.each([true, false])('are read without a READ for each page, with an upper: %s', async (withUpper) => {
    await mountIt(withUpper)
    const fd = fs.openSync(at('mnt', 'f1'), 'r')
    const page = Buffer.alloc(4096)
    const expected = pages(SIZE, 1)
    const check = (i: number): void => {
      const n = fs.readSync(fd, page, 0, 4096, i * 4096)
      expect(page.subarray(0, n).equals(expected.subarray(i * 4096, i * 4096 + n)), `page ${i}`).toBe(true)
    }
    const inOrder = Array.from(
      { length: Math.ceil(SIZE / 4096) },
      (_, i) => (i * 389) % Math.ceil(SIZE / 4096),
    )
    for (const i of inOrder.slice(0, 120)) check(i)
    const deadline = Date.now() + 20_000
    while ((m.status() as unknown as { readAround: number }).readAround < 3 && Date.now() < deadline)
      await sleep(10)
    // What has been handed to a helper is there soon.
    await sleep(500)
    const before = reads()
    for (const i of inOrder) check(i)
    expect(reads() - before).toBeLessThan(20)
    fs.closeSync(fd)
  })

  it('show what is written right after they have been read here and there', async () => {
    const MANY = 150
    const data = pages(MiB, 7)
    for (let i = 0; i < MANY; i++) fs.writeFileSync(at('lower', `many${i}`), data)
    const { mount } = await library()
    m = await mount({ ...stackIn(base), passthrough: 'off' })
    const page = Buffer.alloc(4096)
    const starts = Array.from({ length: 256 }, (_, i) => ((i * 41) % 256) * 4096)
    const expected = Buffer.from(data)
    for (const pos of starts) expected.write('written!', pos)
    for (let i = 0; i < MANY; i++) {
      const file = at('mnt', `many${i}`)
      const reader = fs.openSync(file, 'r')
      for (const pos of starts.slice(1, ENOUGH + 1)) fs.readSync(reader, page, 0, 4096, pos)
      // Its pages are under way now.
      const writer = fs.openSync(file, 'r+')
      for (const pos of starts) fs.writeSync(writer, 'written!', pos)
      if (i % 10 === 0) await sleep(3)
      const shown = Buffer.alloc(MiB)
      expect(fs.readSync(reader, shown, 0, MiB, 0)).toBe(MiB)
      fs.closeSync(writer)
      fs.closeSync(reader)
      expect(shown.equals(expected), `file ${i}, as shown`).toBe(true)
    }
    expect((m.status() as unknown as { readAround: number }).readAround).toBe(MANY)
    await m.unmount()
    for (let i = 0; i < MANY; i++) {
      expect(fs.readFileSync(at('upper', `many${i}`)).equals(expected), `file ${i}, in the upper`).toBe(true)
      expect(fs.readFileSync(at('lower', `many${i}`)).equals(data), `file ${i}, below`).toBe(true)
    }
  })
})
