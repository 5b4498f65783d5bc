import { describe, expect, it } from 'vitest'
import { DT_DIR, S_IFDIR } from '../../src/abi/linux.js'
import { Handles } from '../../src/native/handles.js'
import { foldIno, packEntry, packStat, packStatFs, STAT_INTS, STATVFS_INTS } from '../../src/native/stat.js'
import { bytesOf, textOf } from '../../src/native/text.js'
import { Attr, StatFs } from '../../src/vfs.js'

describe('text', () => {
  it.each(['plain', 'näm', '日本', '😀', ''])('carries %s both ways', (text) => {
    const bytes = Buffer.from(text).toString('latin1')
    expect(bytesOf(text)).toBe(bytes)
    expect(textOf(bytes)).toBe(text)
  })

  it('says what it cannot carry', () => {
    expect(textOf('\xff')).toBeUndefined()
    expect(textOf('half \xc3')).toBeUndefined()
    expect(bytesOf('\ufffd')).toBeUndefined()
    expect(textOf(Buffer.from('\ufffd').toString('latin1'))).toBeUndefined()
  })
})

describe('packStat', () => {
  const pack = (fields: Partial<Attr>): number[] => {
    const ints = new Uint32Array(STAT_INTS)
    packStat(Object.assign(new Attr(), fields), ints)
    return [...ints]
  }

  it('splits what is wider than 32 bits', () => {
    const ints = pack({ size: 5 * 2 ** 32 + 7, blocks: 2 ** 33 + 1 })
    expect(ints.slice(3, 5)).toEqual([7, 5])
    expect(ints.slice(10, 12)).toEqual([1, 2])
  })

  it('tells times in milliseconds, those before 1970 as 1970', () => {
    const ints = pack({ mtime: 2 ** 31, mtimeNs: 987_654_321, atime: -5 })
    expect((ints[14] ?? 0) + (ints[15] ?? 0) * 2 ** 32).toBe(2 ** 31 * 1000 + 987)
    expect(ints.slice(12, 14)).toEqual([0, 0])
  })

  it('keeps a link count of 0', () => {
    expect(pack({ nlink: 0 })[6]).toBe(0)
  })
})

describe('foldIno', () => {
  it('leaves short numbers as they are', () => {
    expect(foldIno(1)).toBe(1)
    expect(foldIno(2 ** 32 - 1)).toBe(2 ** 32 - 1)
  })

  it('hashes long numbers to 32 bits, equal ones alike, and never to 0', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 10_000; i++) seen.add(foldIno(3 * 2 ** 44 + i))
    expect(seen.size).toBe(10_000)
    expect(seen.has(0)).toBe(false)
    expect(Math.max(...seen)).toBeLessThan(2 ** 32)
  })

  it('is the same in a listing', () => {
    const ints = packEntry(3 * 2 ** 44 + 5, DT_DIR)
    expect(ints[7]).toBe(foldIno(3 * 2 ** 44 + 5))
    expect(ints[0]).toBe(S_IFDIR)
  })
})

describe('packStatFs', () => {
  it('counts in larger units where the blocks would not fit', () => {
    const ints = new Uint32Array(STATVFS_INTS)
    const stat = Object.assign(new StatFs(), {
      bsize: 4096,
      frsize: 4096,
      blocks: 2 ** 34,
      bfree: 2 ** 33,
      bavail: 2 ** 32,
    })
    packStatFs(stat, ints)
    const unit = ints[1] ?? 0
    expect((ints[2] ?? 0) * unit).toBe(2 ** 34 * 4096)
    expect((ints[3] ?? 0) * unit).toBe(2 ** 33 * 4096)
    expect((ints[4] ?? 0) * unit).toBe(2 ** 32 * 4096)
  })
})

describe('Handles', () => {
  it('numbers from 1, and again what was closed', () => {
    const handles = new Handles()
    expect(handles.add(5, 0)).toBe(1)
    expect(handles.add(5, 1)).toBe(2)
    expect(handles.remove(1)).toEqual({ node: 5, fh: 0 })
    expect(handles.remove(1)).toBeUndefined()
    expect(handles.get(1)).toBeUndefined()
    expect(handles.add(6, 2)).toBe(1)
  })

  it('knows which nodes are open', () => {
    const handles = new Handles()
    const one = handles.add(5, 0)
    const two = handles.add(5, 1)
    handles.remove(one)
    expect(handles.holds(5)).toBe(true)
    handles.remove(two)
    expect(handles.holds(5)).toBe(false)
    handles.add(7, 3)
    expect([...handles.drain()]).toEqual([{ node: 7, fh: 3 }])
    expect(handles.holds(7)).toBe(false)
  })
})
