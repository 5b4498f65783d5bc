import { describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import { ALL, Bench, initRequest, parse, request, str, u32 } from './wire.js'

/** flags, flags2 and max_stack_depth of a reply to INIT. */
const agreed = (body: Buffer) => ({
  flags: body.readUInt32LE(12),
  flags2: body.readUInt32LE(32),
  depth: body.readUInt32LE(36),
})

describe('FUSE_INIT', () => {
  it('answers fuse_init_out: version, readahead, background, a megabyte a request, nanoseconds', () => {
    const { error, body } = new Bench().init()
    expect(error).toBe(0)
    expect(body.length).toBe(64)
    expect(body.subarray(0, 12)).toEqual(u32(7, 45, 0x20000))
    expect(body.readUInt16LE(16)).toBe(64)
    expect(body.readUInt32LE(20)).toBe(1 << 20)
    expect(body.readUInt32LE(24)).toBe(1)
    expect(body.readUInt16LE(28)).toBe(256)
  })

  it('takes of what is offered what helps, and nothing that is not offered', () => {
    const { flags, flags2 } = agreed(new Bench().init().body)
    expect(flags & F.FUSE_NO_OPENDIR_SUPPORT).not.toBe(0)
    expect(flags & F.FUSE_POSIX_ACL).not.toBe(0)
    const locks = (1 << 1) | (1 << 10)
    expect(flags & locks).toBe(0)
    expect(flags2).toBe(F.FUSE2_DIRECT_IO_ALLOW_MMAP)
    expect(agreed(new Bench().init(initRequest(7, 31, F.FUSE_POSIX_ACL, ALL)).body)).toEqual({
      flags: F.FUSE_POSIX_ACL,
      flags2: 0,
      depth: 0,
    })
  })

  it('prefers passthrough to the writeback cache, which excludes it', () => {
    const both = new Bench({ passthrough: true, writeback: true })
    const got = agreed(both.init().body)
    expect(got.flags & F.FUSE_WRITEBACK_CACHE).toBe(0)
    expect(got.flags2 & F.FUSE2_PASSTHROUGH).not.toBe(0)
    expect(got.depth).toBe(1)
    expect(both.session.features).toMatchObject({ passthrough: true, writeback: false })
    expect(agreed(new Bench({ passthrough: true, lowers: true }).init().body).depth).toBe(2)

    const old = new Bench({ passthrough: true, writeback: true })
    const without = agreed(old.init(initRequest(7, 38, ALL, 0)).body)
    expect(without.flags & F.FUSE_WRITEBACK_CACHE).not.toBe(0)
    expect(without.depth).toBe(0)
  })

  it('lets the kernel notice changes by itself only where timeouts end', () => {
    const endless = agreed(new Bench().init().body).flags
    expect(endless & F.FUSE_EXPLICIT_INVAL_DATA).not.toBe(0)
    expect(endless & F.FUSE_AUTO_INVAL_DATA).toBe(0)
    const second = agreed(new Bench({ timeout: 1 }).init().body).flags
    expect(second & F.FUSE_EXPLICIT_INVAL_DATA).toBe(0)
    expect(second & F.FUSE_AUTO_INVAL_DATA).not.toBe(0)
  })

  it('names its version to a kernel with a newer major, and waits to be asked again', () => {
    const b = new Bench()
    b.kernel.queue.push(initRequest(8, 0))
    const second = b.init(initRequest(7, 45))
    expect(second.error).toBe(0)
    expect(parse(b.kernel.sent[0] as Buffer).body.subarray(0, 8)).toEqual(u32(7, 45))
  })

  it('refuses a kernel that is too old, with what it takes', () => {
    const b = new Bench()
    expect(() => b.init(initRequest(7, 30))).toThrow(/7\.30.*needs 7\.31 \(Linux 5\.4\)/)
    expect(parse(b.kernel.sent[0] as Buffer).error).toBe(-L.EPROTO)
  })

  it('says that the kernel gave up where it goes away first', () => {
    expect(() => new Bench().session.init()).toThrow(/gave up the mount/)
  })

  it('answers EIO to what comes before INIT', () => {
    const b = new Bench()
    b.kernel.queue.push(request(F.FUSE_LOOKUP, 1, [str('x')]))
    b.init()
    expect(parse(b.kernel.sent[0] as Buffer).error).toBe(-L.EIO)
  })
})

describe('under the writeback cache', () => {
  const opened: number[] = []
  function bench() {
    const b = new Bench({ writeback: true })
    b.init()
    const { open } = b.fs
    b.fs.open = (c, node, flags, kill, out) => {
      opened.push(flags)
      return (flags & L.O_ACCMODE) === denied ? -L.EACCES : open.call(b.fs, c, node, flags, kill, out)
    }
    b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFREG | 0o666, 0, 0, 0), str('f'))
    opened.length = 0
    return b
  }
  let denied = -1

  it('opens write-only files for reading too, and leaves the end of the file to the kernel', () => {
    denied = -1
    const b = bench()
    expect(b.ask(F.FUSE_OPEN, 2, u32(L.O_WRONLY | L.O_APPEND, 0)).error).toBe(0)
    expect(b.ask(F.FUSE_OPEN, 2, u32(L.O_RDONLY | L.O_APPEND, 0)).error).toBe(0)
    expect(opened).toEqual([L.O_RDWR, L.O_RDONLY])
  })

  it('does without reading where the file may not be read', () => {
    denied = L.O_RDWR
    const b = bench()
    expect(b.ask(F.FUSE_OPEN, 2, u32(L.O_WRONLY, 0)).error).toBe(0)
    expect(opened).toEqual([L.O_RDWR, L.O_WRONLY])
  })

  it('keeps O_APPEND and write-only without it, and O_DIRECT never: replies are not aligned', () => {
    denied = -1
    const b = bench()
    b.session.features.writeback = false
    expect(b.ask(F.FUSE_OPEN, 2, u32(L.O_WRONLY | L.O_APPEND | L.O_DIRECT, 0)).error).toBe(0)
    expect(opened).toEqual([L.O_WRONLY | L.O_APPEND])
  })
})
