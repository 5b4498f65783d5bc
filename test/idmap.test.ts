import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EINVAL, EOVERFLOW } from '../src/abi/linux.js'
import {
  checkIdMap,
  formatIdMap,
  IdMap,
  mapAcl,
  mapCapability,
  OVERFLOW_ID,
  parseIdMap,
  parseIdRange,
} from '../src/idmap.js'
import { refusal } from './support/refusal.js'

// The same cases every time: a failure is a change's fault, not the dice's.
fc.configureGlobal({ seed: 1, numRuns: 500 })

const container = [
  { disk: 0, shown: 100000, count: 65536 },
  { disk: 70000, shown: 5, count: 1 },
]

describe('parsing', () => {
  test('one range', () => {
    expect(parseIdRange('0:100000:65536')).toEqual({ disk: 0, shown: 100000, count: 65536 })
  })

  test('several ranges, and the leading colon of container engines', () => {
    expect(parseIdMap(':0:1000:1:1:110000:65536')).toEqual([
      { disk: 0, shown: 1000, count: 1 },
      { disk: 1, shown: 110000, count: 65536 },
    ])
  })

  test.each([
    ['', 'three numbers'],
    ['1:2', 'three numbers'],
    ['1:2:3:4', 'three numbers'],
    ['a:0:1', '"a" is not a number'],
    ['-1:0:1', '"-1" is not a number'],
    ['0:0: 1', '" 1" is not a number'],
    ['0:0:0', 'the count is 0'],
    ['4294967295:0:1', 'beyond the largest id'],
    ['0:4294967290:10', 'beyond the largest id'],
  ])('%j is refused: %s', (text, why) => {
    const error = refusal(() => parseIdMap(text))
    expect(error.code).toBe('BAD_MAP')
    expect(error.message).toContain(why)
  })

  test('one range where several are given', () => {
    expect(refusal(() => parseIdRange('0:0:1:5:5:1')).code).toBe('BAD_MAP')
  })

  test('overlaps are refused on either side, naming both ranges', () => {
    const disk = refusal(() => parseIdMap('0:1000:10:9:5000:1'))
    expect(disk.message).toContain('9:5000:1')
    expect(disk.message).toContain('disk ids overlap those of 0:1000:10')
    const shown = refusal(() => parseIdMap('0:1000:10:50:1009:2'))
    expect(shown.message).toContain('shown ids overlap those of 0:1000:10')
  })

  test('neighbours do not overlap', () => {
    expect(() => parseIdMap('0:1000:10:10:1010:10')).not.toThrow()
  })

  test('fractions from the library are refused', () => {
    expect(refusal(() => checkIdMap([{ disk: 0.5, shown: 0, count: 1 }])).code).toBe('BAD_MAP')
  })

  test('what is formatted is read back', () => {
    const range = fc.record({
      disk: fc.nat(1e6),
      shown: fc.nat(1e6),
      count: fc.integer({ min: 1, max: 1000 }),
    })
    // Ranges far enough apart on both sides.
    const ranges = fc
      .array(range, { minLength: 1, maxLength: 5 })
      .map((all) => all.map((r, i) => ({ ...r, disk: r.disk + i * 2e6, shown: r.shown + (5 - i) * 2e6 })))
    fc.assert(
      fc.property(ranges, (all) => {
        expect(parseIdMap(formatIdMap(all))).toEqual(all)
      }),
    )
  })
})

describe('mapping', () => {
  test('no ranges, or the whole identity: every id is itself', () => {
    for (const map of [new IdMap(), IdMap.IDENTITY, new IdMap(parseIdMap('0:0:4294967295'))]) {
      expect(map.identity).toBe(true)
      expect(map.toShown(4294967294)).toBe(4294967294)
      expect(map.toDisk(12)).toBe(12)
    }
  })

  test('part of the identity is no identity', () => {
    const map = new IdMap(parseIdMap('0:0:1000'))
    expect(map.identity).toBe(false)
    expect(map.toShown(1000)).toBe(OVERFLOW_ID)
    expect(map.toDisk(1000)).toBe(-1)
  })

  test('both ways, at the edges of the ranges', () => {
    const map = new IdMap(container)
    expect([0, 65535, 70000].map((id) => map.toShown(id))).toEqual([100000, 165535, 5])
    expect([65536, 69999, 70001].map((id) => map.toShown(id))).toEqual([65534, 65534, 65534])
    expect([100000, 165535, 5].map((id) => map.toDisk(id))).toEqual([0, 65535, 70000])
    expect([0, 99999, 165536, 4, 6].map((id) => map.toDisk(id))).toEqual([-1, -1, -1, -1, -1])
  })

  test('the overflow id itself is not stored', () => {
    expect(new IdMap(parseIdMap('0:100000:65536')).toDisk(OVERFLOW_ID)).toBe(-1)
  })

  test('mapped ids come back', () => {
    const map = new IdMap(container)
    fc.assert(
      fc.property(fc.nat(65535), (id) => {
        expect(map.toDisk(map.toShown(id))).toBe(id)
      }),
    )
  })

  test('an overlapping map is refused', () => {
    expect(refusal(() => new IdMap([...container, { disk: 3, shown: 1, count: 1 }])).code).toBe('BAD_MAP')
  })
})

describe('squashing', () => {
  test('every owner shows as the one; writes of it store it, others stay', () => {
    const map = IdMap.squash(1000)
    expect(map.identity).toBe(false)
    expect([0, 1, 1000, 4294967294].map((id) => map.toShown(id))).toEqual([1000, 1000, 1000, 1000])
    expect(map.toDisk(1000)).toBe(1000)
    expect(map.toDisk(5)).toBe(5)
  })

  test('a daemon that may give files to nobody stores its own id', () => {
    const map = IdMap.squash(0, 1000)
    expect(map.toShown(1000)).toBe(0)
    expect(map.toDisk(0)).toBe(1000)
  })

  test('other ids go through the ranges where there are some', () => {
    const map = IdMap.squash(0, 0, parseIdMap('0:100000:10'))
    expect(map.toDisk(100003)).toBe(3)
    expect(map.toDisk(3)).toBe(-1)
  })

  test('an id that is none is refused', () => {
    expect(refusal(() => IdMap.squash(4294967295)).code).toBe('BAD_MAP')
  })
})

/** A POSIX ACL xattr: version, then tag, permissions and id of each entry. */
function acl(entries: [number, number, number][], version = 2): Buffer {
  const value = Buffer.alloc(4 + entries.length * 8)
  value.writeUInt32LE(version, 0)
  for (const [i, [tag, perm, id]] of entries.entries()) {
    value.writeUInt16LE(tag, 4 + i * 8)
    value.writeUInt16LE(perm, 6 + i * 8)
    value.writeUInt32LE(id, 8 + i * 8)
  }
  return value
}

const NO_ID = 0xffffffff
const typical = (user: number, group: number): Buffer =>
  acl([
    [0x01, 7, NO_ID],
    [0x02, 6, user],
    [0x04, 5, NO_ID],
    [0x08, 4, group],
    [0x10, 7, NO_ID],
    [0x20, 0, NO_ID],
  ])

describe('ACLs', () => {
  const users = new IdMap(parseIdMap('0:100000:65536'))
  const groups = new IdMap(parseIdMap('0:200000:65536'))

  test('named users and groups are mapped, all else stays', () => {
    const value = typical(1000, 50)
    expect(mapAcl(value, users, groups, 'toShown')).toBe(0)
    expect(value).toEqual(typical(101000, 200050))
    expect(mapAcl(value, users, groups, 'toDisk')).toBe(0)
    expect(value).toEqual(typical(1000, 50))
  })

  test('an unmapped id shows as the overflow id and is not stored', () => {
    const value = typical(70000, 0)
    expect(mapAcl(value, users, groups, 'toShown')).toBe(0)
    expect(value).toEqual(typical(OVERFLOW_ID, 200000))
    expect(mapAcl(typical(0, 200000), users, groups, 'toDisk')).toBe(-EOVERFLOW)
    expect(mapAcl(typical(100000, 0), users, groups, 'toDisk')).toBe(-EOVERFLOW)
  })

  test.each([
    ['empty', Buffer.alloc(0)],
    ['cut short', typical(0, 0).subarray(0, -1)],
    ['another version', acl([[0x01, 7, NO_ID]], 1)],
    ['an unknown tag', acl([[0x40, 7, NO_ID]])],
    ['two tags in one', acl([[0x03, 7, NO_ID]])],
    ['no tag', acl([[0, 7, NO_ID]])],
  ])('malformed: %s', (_, value) => {
    expect(mapAcl(Buffer.from(value), users, groups, 'toShown')).toBe(-EINVAL)
  })

  test('identity maps look at nothing', () => {
    expect(mapAcl(Buffer.alloc(1), IdMap.IDENTITY, IdMap.IDENTITY, 'toDisk')).toBe(0)
  })

  test('bytes of any kind do not throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect([0, -EINVAL, -EOVERFLOW]).toContain(mapAcl(Buffer.from(bytes), users, groups, 'toDisk'))
      }),
    )
  })
})

describe('capabilities', () => {
  const users = new IdMap(parseIdMap('0:100000:65536'))

  function v3(rootid: number): Buffer {
    const value = Buffer.alloc(24)
    value.writeUInt32LE(0x03000001, 0)
    value.writeUInt32LE(0x400, 4)
    value.writeUInt32LE(rootid, 20)
    return value
  }

  test('the rootid of version 3 is mapped both ways', () => {
    const value = v3(1000)
    expect(mapCapability(value, users, 'toShown')).toBe(0)
    expect(value).toEqual(v3(101000))
    expect(mapCapability(value, users, 'toDisk')).toBe(0)
    expect(value).toEqual(v3(1000))
  })

  test('an unmapped rootid shows as the overflow id and is not stored', () => {
    const value = v3(70000)
    expect(mapCapability(value, users, 'toShown')).toBe(0)
    expect(value).toEqual(v3(OVERFLOW_ID))
    expect(mapCapability(v3(0), users, 'toDisk')).toBe(-EOVERFLOW)
  })

  test('version 2 has no rootid and passes; version 3 of another size does not', () => {
    const v2 = Buffer.alloc(20)
    v2.writeUInt32LE(0x02000001, 0)
    const before = Buffer.from(v2)
    expect(mapCapability(v2, users, 'toDisk')).toBe(0)
    expect(v2).toEqual(before)
    expect(mapCapability(v3(0).subarray(0, 20), users, 'toShown')).toBe(-EINVAL)
  })
})
