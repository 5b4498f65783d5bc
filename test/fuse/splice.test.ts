import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import type { Mount } from '../../src/index.js'
import { Pipe } from '../../src/sys/pipe.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { discard } from '../support/mounts.js'
import { type Answer, Bench, request, u32, u64 } from './wire.js'

describe('a large READ', () => {
  const FILE = 7
  let b: Bench
  beforeEach(() => {
    b = new Bench()
    b.init()
    Object.assign(b.fs, { source: (_node: number, fh: number) => (fh === 5 ? 77 : -L.EBADF) })
    b.fs.read = (_node, _fh, dst) => dst.fill('r').length
    b.kernel.splices = true
  })
  const read = (fh: number, pos: number, count: number): Answer | undefined =>
    b.raw(request(F.FUSE_READ, FILE, [u64(fh), u64(pos), u32(count, 0), u64(0), u32(0, 0)]))

  it('is answered with a header and pages of the file, and no copy', () => {
    expect(read(5, 8192, 131_072)).toBeUndefined()
    expect(b.kernel.spliced).toMatchObject([{ fd: 77, pos: 8192, count: 131_072 }])
    const head = b.kernel.spliced[0]?.head as Buffer
    expect(head.length).toBe(16)
    expect([head.readUInt32LE(0), head.readInt32LE(4)]).toEqual([16 + 131_072, 0])
    expect(b.session.status()).toMatchObject({ spliced: 1 })
  })

  it('is read where that cannot be, or is no gain', () => {
    expect(read(5, 0, 4096)?.body.length).toBe(4096)
    expect(read(6, 0, 131_072)?.body.length).toBe(131_072)
    b.kernel.splices = false
    expect(read(5, 0, 131_072)?.body.length).toBe(131_072)
    expect(b.kernel.spliced).toEqual([])
    expect(b.session.status()).toMatchObject({ spliced: 0 })
  })
})

describe('a pipe', () => {
  it('moves what it is filled with, and tells where the file ends or it is full', () => {
    const dir = scratch('pipe')
    const file = path.join(dir, 'file')
    fs.writeFileSync(file, Buffer.alloc(300_000, 'pages '))
    const from = fs.openSync(file, 'r')
    const to = fs.openSync(path.join(dir, 'copy'), 'w')
    const pipe = Pipe.open(1 << 18) as Pipe
    expect(pipe.write(Buffer.from('head'), 4)).toBe(4)
    expect(pipe.fill(from, 100_001, 100_000)).toBe(100_000)
    expect(pipe.drain(to, 100_004)).toBe(100_004)
    expect(pipe.fill(from, 250_000, 100_000)).toBe(50_000)
    expect(pipe.fill(from, 0, 300_000)).toBe(-L.EAGAIN)
    pipe.close()
    const expected = Buffer.concat([Buffer.from('head'), fs.readFileSync(file).subarray(100_001, 200_001)])
    expect(fs.readFileSync(path.join(dir, 'copy')).equals(expected)).toBe(true)
    fs.closeSync(from)
    fs.closeSync(to)
    discard(dir)
  })
})

describe('large files of lowers', () => {
  const SIZE = 5_000_003
  const data = Buffer.alloc(SIZE)
  for (let i = 0; i + 4 <= SIZE; i += 4) data.writeUInt32LE(i, i)
  let base: string
  let m: Mount
  const at = (...names: string[]) => path.join(base, ...names)
  beforeEach(async () => {
    base = scratch('splice')
    for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
    fs.writeFileSync(at('lower', 'big'), data)
    fs.writeFileSync(at('lower', 'holes'), '')
    fs.truncateSync(at('lower', 'holes'), SIZE)
    const { mount } = await library()
    m = await mount(stackIn(base))
  })
  afterEach(async () => {
    await m.unmount({ lazy: true }).catch(() => {})
    discard(base)
  })
  const spliced = (): number => {
    const text = spawnSync('getfattr', [
      '--only-values',
      '--absolute-names',
      '-n',
      'layerfs.status',
      at('mnt'),
    ])
    return (JSON.parse(text.stdout.toString()) as { spliced: number }).spliced
  }

  it('are read byte for byte', () => {
    expect(fs.readFileSync(at('mnt', 'big')).equals(data)).toBe(true)
    expect(fs.readFileSync(at('mnt', 'holes')).equals(Buffer.alloc(SIZE))).toBe(true)
    expect(spliced()).toBeGreaterThan(0)
  })

  it.each([
    [131_072, 0],
    [1 << 20, 4096],
    [262_144, 4_980_736],
    [131_072, 5_000_003],
    [983_040, 512],
  ])('are read past the page cache: %i bytes from %i on', (count, pos) => {
    const fd = fs.openSync(at('mnt', 'big'), fs.constants.O_RDONLY | L.O_DIRECT)
    const dst = Buffer.alloc(count)
    const n = fs.readSync(fd, dst, 0, count, pos)
    fs.closeSync(fd)
    expect(n).toBe(Math.max(0, Math.min(count, SIZE - pos)))
    expect(dst.subarray(0, n).equals(data.subarray(pos, pos + n))).toBe(true)
    expect(fs.readFileSync(at('mnt', 'big')).equals(data)).toBe(true)
  })
})
