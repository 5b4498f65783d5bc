import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import { OPS } from '../../src/fuse/ops.js'
import { Bench, request, str, u32, u64 } from './wire.js'

let b: Bench
beforeEach(() => {
  b = new Bench()
  b.init()
})

const alive = () => expect(b.ask(F.FUSE_STATFS, 1).error).toBe(0)

describe('malformed requests', () => {
  it('answers EINVAL to a body that is too short, whatever the opcode', () => {
    OPS.forEach((op, opcode) => {
      if (op === undefined || op.min === 0) return
      const answer = b.raw(request(opcode, 1, [Buffer.alloc(op.min - 1)]))
      expect([op.name, answer?.error]).toEqual([op.name, op.silent ? undefined : -L.EINVAL])
    })
    alive()
  })

  it('answers EINVAL to names without end, empty names and names with slashes', () => {
    expect(b.raw(request(F.FUSE_LOOKUP, 1, [Buffer.from('abc')]))?.error).toBe(-L.EINVAL)
    expect(b.ask(F.FUSE_LOOKUP, 1, str(''), str('x')).error).toBe(-L.EINVAL)
    expect(b.ask(F.FUSE_LOOKUP, 1, str('a/b')).error).toBe(-L.EINVAL)
    expect(b.ask(F.FUSE_RENAME, 1, u64(1), Buffer.from('a\0bcd')).error).toBe(-L.EINVAL)
    expect(b.ask(F.FUSE_SYMLINK, 1, Buffer.from('a\0bcd')).error).toBe(-L.EINVAL)
    alive()
  })

  it('does not read on where a former, longer request has left a NUL', () => {
    b.ask(F.FUSE_LOOKUP, 1, str('x'.repeat(200)))
    expect(b.raw(request(F.FUSE_LOOKUP, 1, [Buffer.from('abc')]))?.error).toBe(-L.EINVAL)
    b.ask(F.FUSE_SYMLINK, 1, str('s'), str('t'.repeat(200)))
    expect(b.raw(request(F.FUSE_SYMLINK, 1, [Buffer.from('a\0bcd')]))?.error).toBe(-L.EINVAL)
  })

  it('answers EINVAL to counts beyond the data or beyond a reply', () => {
    const wide = [u64(1, 0), u32(1000, 0), u64(0), u32(0, 0), Buffer.alloc(999)]
    expect(b.ask(F.FUSE_WRITE, 1, ...wide).error).toBe(-L.EINVAL)
    expect(b.ask(F.FUSE_READ, 1, u64(1, 0), u32(0xffffffff, 0), u64(0), u32(0, 0)).error).toBe(-L.EINVAL)
    expect(b.ask(F.FUSE_SETXATTR, 1, u32(9, 0, 0, 0), str('user.a'), Buffer.alloc(8)).error).toBe(-L.EINVAL)
    alive()
  })

  it('takes a huge size of an xattr, a list or a listing for the most there can be', () => {
    expect(b.ask(F.FUSE_GETXATTR, 1, u32(0xffffffff, 0), str('user.a')).error).toBe(-L.ENODATA)
    expect(b.ask(F.FUSE_LISTXATTR, 1, u32(0xffffffff, 0)).error).toBe(0)
    const { error } = b.ask(F.FUSE_READDIR, 1, u64(0, 0), u32(0xffffffff, 0), u64(0), u32(0, 0))
    expect(error).toBe(0)
  })

  it('forgets no more nodes than a batch holds', () => {
    expect(b.raw(request(F.FUSE_BATCH_FORGET, 0, [u32(0xffffffff, 0), u64(2, 1)]))).toBeUndefined()
    alive()
  })

  it('answers EINVAL where the header tells another length, and skips what has no header', () => {
    const wrong = request(F.FUSE_STATFS, 1)
    wrong.writeUInt32LE(1000, 0)
    expect(b.raw(wrong)?.error).toBe(-L.EINVAL)
    const extended = request(F.FUSE_STATFS, 1)
    extended.writeUInt16LE(500, 36)
    expect(b.raw(extended)?.error).toBe(-L.EINVAL)
    expect(b.raw(Buffer.alloc(20))).toBeUndefined()
    expect(b.log.length).toBe(1)
    alive()
  })

  it('leaves extensions at the end of a request out of its body', () => {
    const r = request(F.FUSE_LOOKUP, 1, [str('nothing'), Buffer.alloc(16)])
    r.writeUInt16LE(2, 36)
    expect(b.raw(r)?.error).toBe(0)
    const cut = request(F.FUSE_LOOKUP, 1, [Buffer.from('12345678'), Buffer.alloc(16)])
    cut.writeUInt16LE(2, 36)
    expect(b.raw(cut)?.error).toBe(-L.EINVAL)
  })

  it('survives any bytes: at most one reply each, no exception', () => {
    const bytes = fc.record({
      opcode: fc.integer({ min: 0, max: 70 }),
      node: fc.integer({ min: 0, max: 5 }),
      body: fc.uint8Array({ maxLength: 300 }),
    })
    fc.assert(
      fc.property(bytes, ({ opcode, node, body }) => {
        b.log.length = 0
        const answer = b.raw(request(opcode, node, [Buffer.from(body)]))
        expect(b.kernel.sent.length).toBe(0)
        if (answer !== undefined) {
          expect(answer.error).toBeLessThanOrEqual(0)
          expect(answer.error).toBeGreaterThan(-512)
        }
        expect(b.log.filter((line) => !line.includes('out of range'))).toEqual([])
      }),
      { numRuns: 2000, seed: 7 },
    )
    alive()
  })
})
