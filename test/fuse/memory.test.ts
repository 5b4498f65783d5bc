import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AT_FDCWD, O_RDWR, O_TMPFILE, SEEK_DATA, SEEK_HOLE } from '../../src/abi/linux.js'
import { copyFileRange, fallocate, lseek, open } from '../../src/sys/file.js'
import { linkFd } from '../../src/sys/name.js'
import { getXattr, listXattr, readXattr, removeXattr, setXattr } from '../../src/sys/xattr.js'
import { Mapping } from '../support/mmap.js'
import { type Served, serveMemory } from '../support/served.js'

describe.each([
  { what: 'caching without end', options: {} },
  { what: 'the writeback cache', options: { writeback: true } },
  { what: 'no caching', options: { timeout: 0 } },
  { what: 'a thread that follows its callers', options: { wake: 'follow' } },
  { what: 'a thread that spins', options: { wake: 'spin' } },
  { what: 'a thread that finds out how to wait', options: { wake: 'adaptive' } },
])('a mount of the memory filesystem with $what', ({ options }) => {
  let served: Served
  beforeAll(async () => {
    served = await serveMemory(options)
  })
  afterAll(async () => {
    try {
      await served.end()
    } finally {
      served.discard()
    }
  })
  const at = (...names: string[]) => path.join(served.mountpoint, ...names)

  it('writes, reads, appends, truncates and renames', () => {
    fs.writeFileSync(at('f'), 'one')
    fs.appendFileSync(at('f'), ' two')
    expect(fs.readFileSync(at('f'), 'utf8')).toBe('one two')
    fs.truncateSync(at('f'), 2)
    fs.mkdirSync(at('d'))
    fs.renameSync(at('f'), at('d', 'g'))
    expect(fs.readFileSync(at('d', 'g'), 'utf8')).toBe('on')
    expect(fs.existsSync(at('f'))).toBe(false)
    expect(fs.statSync(at('d', 'g')).size).toBe(2)
  })

  it('moves megabytes unharmed', () => {
    const data = Buffer.alloc(5 * 1024 * 1024 + 17)
    for (let i = 0; i < data.length; i += 4) data.writeUInt32LE(i, Math.min(i, data.length - 4))
    fs.writeFileSync(at('big'), data)
    expect(fs.readFileSync(at('big')).equals(data)).toBe(true)
  })

  it('lists 5,000 entries, each once', () => {
    fs.mkdirSync(at('many'))
    const names = Array.from({ length: 5000 }, (_, i) => `entry-${i}`)
    for (const name of names) fs.writeFileSync(at('many', name), '')
    expect(fs.readdirSync(at('many')).sort()).toEqual([...names].sort())
    fs.unlinkSync(at('many', 'entry-77'))
    expect(fs.readdirSync(at('many')).length).toBe(4999)
  })

  it('maps files for reading and writing', () => {
    fs.writeFileSync(at('mapped'), 'x'.repeat(10_000))
    const fd = fs.openSync(at('mapped'), 'r+')
    const map = new Mapping(fd, 10_000, true)
    map.bytes[9_999] = 0x79
    map.sync()
    map.unmap()
    fs.closeSync(fd)
    expect(fs.readFileSync(at('mapped'), 'utf8').slice(-2)).toBe('xy')
  })

  it('keeps xattrs', () => {
    fs.writeFileSync(at('attributed'), '')
    const fd = fs.openSync(at('attributed'), 'r+')
    expect(setXattr(fd, '', 'user.a', Buffer.from('value'))).toBe(0)
    expect(readXattr(fd, '', 'user.a')).toEqual(Buffer.from('value'))
    const room = Buffer.alloc(64)
    expect(room.toString('latin1', 0, listXattr(fd, '', room))).toBe('user.a\0')
    expect(removeXattr(fd, '', 'user.a')).toBe(0)
    expect(getXattr(fd, '', 'user.a', room)).toBeLessThan(0)
    fs.closeSync(fd)
  })

  it('makes files without a name, and names them', () => {
    const fd = open(AT_FDCWD, served.mountpoint, O_TMPFILE | O_RDWR, 0o644)
    expect(fd).toBeGreaterThan(0)
    fs.writeSync(fd, 'nameless')
    const dir = fs.openSync(served.mountpoint, 'r')
    expect(linkFd(fd, dir, 'named')).toBe(0)
    fs.closeSync(dir)
    fs.closeSync(fd)
    expect(fs.readFileSync(at('named'), 'utf8')).toBe('nameless')
  })

  it('seeks data and holes, allocates, and copies ranges', () => {
    fs.writeFileSync(at('from'), 'abcdef')
    const from = fs.openSync(at('from'), 'r+')
    const to = fs.openSync(at('to'), 'w+')
    expect(lseek(from, 2, SEEK_DATA)).toBe(2)
    expect(lseek(from, 2, SEEK_HOLE)).toBe(6)
    expect(fallocate(from, 0, 0, 100)).toBe(0)
    expect(fs.fstatSync(from).size).toBe(100)
    expect(copyFileRange(from, 1, to, 0, 4)).toBe(4)
    fs.closeSync(from)
    fs.closeSync(to)
    expect(fs.readFileSync(at('to'), 'utf8')).toBe('bcde')
  })

  it('keeps a removed file alive while it is open', () => {
    const fd = fs.openSync(at('removed'), 'w+')
    fs.writeSync(fd, 'still')
    fs.unlinkSync(at('removed'))
    expect(fs.fstatSync(fd).nlink).toBe(0)
    const data = Buffer.alloc(5)
    fs.readSync(fd, data, 0, 5, 0)
    expect(data.toString()).toBe('still')
    fs.closeSync(fd)
  })

  it('tells the birth time and keeps times to the nanosecond', () => {
    fs.writeFileSync(at('dated'), '')
    const { birthtimeNs } = fs.statSync(at('dated'), { bigint: true })
    expect(birthtimeNs).toBe(1_000_000_000_005n)
    fs.utimesSync(at('dated'), 100, 200.25)
    expect(fs.statSync(at('dated'), { bigint: true }).mtimeNs).toBe(200_250_000_000n)
  })

  it('tells of itself on its root', () => {
    const fd = fs.openSync(served.mountpoint, 'r')
    const value = readXattr(fd, '', 'layerfs.status')
    fs.closeSync(fd)
    expect(JSON.parse(String(value))).toMatchObject({ means: 'mount(2)', engine: { name: 'memfs' } })
  })
})
