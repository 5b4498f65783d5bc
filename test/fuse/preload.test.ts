import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import type { Mount } from '../../src/index.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { discard } from '../support/mounts.js'
import { Bench, str, u32, u64 } from './wire.js'

describe('what the session sends', () => {
  const FILE = 2
  let b: Bench
  /** What the engine offers with the next opens. */
  let preload: number
  beforeEach(() => {
    b = new Bench()
    b.init()
    b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFREG | 0o666, 0, 0, 0), str('f'))
    const open = b.fs.open.bind(b.fs)
    b.fs.open = (c, node, flags, kill, out) => {
      const r = open(c, node, flags, kill, out)
      out.preload = preload
      return r
    }
    preload = 0
    const { body } = b.ask(F.FUSE_OPEN, FILE, u32(L.O_RDWR, 0))
    const text = Buffer.from('some text')
    const written = Buffer.concat([body.subarray(0, 8), u64(0), u32(text.length, 0), u64(0), u32(0, 0)])
    expect(b.ask(F.FUSE_WRITE, FILE, written, text).error).toBe(0)
    b.kernel.sent.length = 0
    preload = text.length
  })
  const opening = (flags: number): Buffer[] => {
    expect(b.ask(F.FUSE_OPEN, FILE, u32(flags, 0)).error).toBe(0)
    return b.kernel.sent
  }

  it('is struct fuse_notify_store_out and the data, before the answer', () => {
    const before = opening(L.O_RDONLY)
    expect(before).toEqual([
      Buffer.concat([u32(16 + 24 + 9, 4), u64(0), u64(FILE, 0), u32(9, 0), Buffer.from('some text')]),
    ])
    expect(b.session.status()).toMatchObject({ preloaded: 1 })
  })

  it('is what there is, where the file has become shorter', () => {
    preload = 100
    expect(opening(L.O_RDONLY)[0]?.subarray(40).toString()).toBe('some text')
  })

  it('is nothing where the engine offers nothing, nor for O_DIRECT', () => {
    expect(opening(L.O_RDONLY | L.O_DIRECT)).toEqual([])
    preload = 0
    expect(opening(L.O_RDONLY)).toEqual([])
  })

  it('is nothing for who has files copied by COPY_FILE_RANGE, until he reads one', () => {
    preload = 0
    const fh = b.ask(F.FUSE_OPEN, FILE, u32(L.O_RDWR, 0)).body.subarray(0, 8)
    const copy = [fh, u64(0), u64(FILE), fh, u64(100), u64(4), u64(0)]
    expect(b.ask(F.FUSE_COPY_FILE_RANGE, FILE, ...copy).error).toBe(0)
    preload = 9
    expect(opening(L.O_RDONLY)).toEqual([])
    expect(b.ask(F.FUSE_READ, FILE, fh, u64(0), u32(9, 0), u64(0), u32(0, 0)).error).toBe(0)
    expect(opening(L.O_RDONLY).length).toBe(1)
  })

  it('is left to READ where it cannot be read', () => {
    b.fs.read = () => -L.EIO
    expect(opening(L.O_RDONLY)).toEqual([])
    expect(b.session.status()).toMatchObject({ preloaded: 0 })
  })
})

describe('small files of lowers', () => {
  let base: string
  let m: Mount
  const at = (...names: string[]) => path.join(base, ...names)
  const LIMIT = 128 * 1024
  const SIZES = [0, 1, 4095, 4096, 4097, 70_001, LIMIT - 1, LIMIT, LIMIT + 1]
  /** Bytes that tell where they stand. */
  const content = (size: number): Buffer => {
    const data = Buffer.alloc(size, `${size}.`)
    for (let i = 0; i + 4 <= size; i += 4096) data.writeUInt32LE(i, i)
    return data
  }
  beforeEach(async () => {
    base = scratch('preload')
    for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
    for (const size of SIZES) fs.writeFileSync(at('lower', `f${size}`), content(size))
    const { mount } = await library()
    m = await mount(stackIn(base))
  })
  afterEach(async () => {
    await m.unmount({ lazy: true }).catch(() => {})
    discard(base)
  })
  const reads = (): number => m.stats().ops.READ?.count ?? 0

  it('are read without a request, byte for byte', () => {
    for (const size of SIZES) {
      const before = reads()
      expect(fs.readFileSync(at('mnt', `f${size}`)).equals(content(size)), `of ${size} bytes`).toBe(true)
      if (size <= LIMIT) expect(reads(), `of ${size} bytes`).toBe(before)
      else expect(reads()).toBeGreaterThan(before)
    }
  })

  it('show what is written to them while they are open, and after', () => {
    const file = at('mnt', 'f4097')
    const reader = fs.openSync(file, 'r')
    const line = Buffer.alloc(5)
    fs.readSync(reader, line, 0, 5, 0)
    const writer = fs.openSync(file, 'r+')
    fs.writeSync(writer, 'new-0', 0)
    fs.writeSync(writer, 'new-1', 4090)
    fs.readSync(reader, line, 0, 5, 4090)
    expect(line.toString()).toBe('new-1')
    fs.closeSync(writer)
    fs.closeSync(reader)
    const expected = content(4097)
    expected.write('new-0', 0)
    expected.write('new-1', 4090)
    expect(fs.readFileSync(file).equals(expected)).toBe(true)
    expect(fs.readFileSync(at('upper', 'f4097')).equals(expected)).toBe(true)
    expect(fs.readFileSync(at('lower', 'f4097')).equals(content(4097))).toBe(true)
  })

  it('are written where they have not been read before', () => {
    fs.appendFileSync(at('mnt', 'f4095'), 'more')
    expect(
      fs.readFileSync(at('mnt', 'f4095')).equals(Buffer.concat([content(4095), Buffer.from('more')])),
    ).toBe(true)
  })

  it('keep the access time of the lower', () => {
    const before = fs.statSync(at('lower', 'f70001')).atimeMs
    fs.closeSync(fs.openSync(at('mnt', 'f70001'), 'r'))
    const after = fs.statSync(at('lower', 'f70001'))
    expect(after.atimeMs).toBe(before)
  })

  it('are opened and read by many at once', async () => {
    const script = `for i in 1 2 3 4 5 6 7 8 9 10; do cat ${SIZES.map((s) => at('mnt', `f${s}`)).join(' ')} | wc -c; done`
    const total = SIZES.reduce((a, b) => a + b, 0)
    const readers = Array.from({ length: 6 }, () => spawn('sh', ['-c', script], { timeout: 60_000 }))
    const said = await Promise.all(
      readers.map(async (reader) => {
        const text: Buffer[] = []
        reader.stdout.on('data', (data: Buffer) => text.push(data))
        await once(reader, 'close')
        return Buffer.concat(text).toString()
      }),
    )
    for (const text of said) expect(text.trim().split('\n').map(Number)).toEqual(Array(10).fill(total))
  })
})
