import { beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import { Bench, request, str, UNIQUE, u32, u64 } from './wire.js'

const OK = 0
/** 1e8 seconds: what an endless timeout becomes. */
const ENDLESS = 100_000_000

let b: Bench
beforeEach(() => {
  b = new Bench()
  b.init()
})

const mkdir = (name: string, parent = 1): number =>
  Number(b.ask(F.FUSE_MKDIR, parent, u32(0o755, 0o022), str(name)).body.readBigUInt64LE(0))

function create(name: string, flags = L.O_RDWR): { node: number; fh: number; flags: number } {
  const { error, body } = b.ask(F.FUSE_CREATE, 1, u32(flags, L.S_IFREG | 0o666, 0o022, 0), str(name))
  expect(error).toBe(OK)
  expect(body.length).toBe(128 + 16)
  return {
    node: Number(body.readBigUInt64LE(0)),
    fh: Number(body.readBigUInt64LE(128)),
    flags: body.readUInt32LE(136),
  }
}

const write = (f: { node: number; fh: number }, pos: number, data: string) =>
  b.ask(F.FUSE_WRITE, f.node, u64(f.fh, pos), u32(data.length, 0), u64(0), u32(0, 0), Buffer.from(data))

const read = (f: { node: number; fh: number }, pos: number, size: number) =>
  b.ask(F.FUSE_READ, f.node, u64(f.fh, pos), u32(size, 0), u64(0), u32(0, 0))

describe('names', () => {
  it('answers LOOKUP with fuse_entry_out, byte for byte', () => {
    const node = mkdir('d')
    const { attr } = { attr: b.ask(F.FUSE_GETATTR, node, u32(0, 0), u64(0)).body.subarray(16) }
    const { error, unique, body } = b.ask(F.FUSE_LOOKUP, 1, str('d'))
    expect(error).toBe(OK)
    expect(unique).toBe(UNIQUE)
    const expected = Buffer.concat([u64(node, 0, ENDLESS, ENDLESS), u32(0, 0), attr])
    expect(body).toEqual(expected)
    expect(attr.length).toBe(88)
    expect(attr.readBigUInt64LE(0)).toBe(BigInt(node))
    expect(attr.readUInt32LE(60)).toBe(L.S_IFDIR | 0o755)
    expect(attr.readUInt32LE(68)).toBe(1000)
    expect(attr.readUInt32LE(72)).toBe(1001)
  })

  it('answers a name that is not there with node 0, which the kernel remembers', () => {
    const { error, body } = b.ask(F.FUSE_LOOKUP, 1, str('nothing'))
    expect(error).toBe(OK)
    expect(body).toEqual(Buffer.concat([u64(0, 0, ENDLESS, ENDLESS), Buffer.alloc(96)]))
  })

  it('answers it with ENOENT where nothing is to be remembered', () => {
    b = new Bench({ timeout: 0 })
    b.init()
    expect(b.ask(F.FUSE_LOOKUP, 1, str('nothing')).error).toBe(-L.ENOENT)
  })

  it('carries timeouts of a fraction of a second', () => {
    b = new Bench({ timeout: 1.5 })
    b.init()
    mkdir('d')
    const { body } = b.ask(F.FUSE_LOOKUP, 1, str('d'))
    expect(body.subarray(16, 40)).toEqual(Buffer.concat([u64(1, 1), u32(5e8, 5e8)]))
  })

  it('counts lookups and forgets them, one by one and in batches', () => {
    const d = mkdir('d')
    const e = mkdir('e')
    for (let i = 0; i < 3; i++) b.ask(F.FUSE_LOOKUP, 1, str('d'))
    expect(b.fs.lookups(d)).toBe(4)
    expect(b.raw(request(F.FUSE_FORGET, d, [u64(3)]))).toBeUndefined()
    expect(b.fs.lookups(d)).toBe(1)
    expect(b.raw(request(F.FUSE_BATCH_FORGET, 0, [u32(2, 0), u64(d, 1, e, 1)]))).toBeUndefined()
    expect(b.fs.lookups(d)).toBe(0)
    expect(b.fs.lookups(e)).toBe(0)
  })

  it('keeps names of bytes that are no text', () => {
    const name = '\xff\xfe caf\xe9'
    mkdir(name)
    expect(b.ask(F.FUSE_LOOKUP, 1, str(name)).body.readBigUInt64LE(0)).not.toBe(0n)
  })

  it('makes and removes: MKNOD, SYMLINK, READLINK, LINK, UNLINK, RMDIR', () => {
    const fifo = b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFIFO | 0o666, 0, 0o077, 0), str('fifo'))
    expect(fifo.body.readUInt32LE(100)).toBe(L.S_IFIFO | 0o600)
    const device = b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFCHR | 0o600, 0x105, 0, 0), str('device'))
    expect(device.body.readUInt32LE(40 + 76)).toBe(0x105)
    const link = b.ask(F.FUSE_SYMLINK, 1, str('link'), str('../to/there'))
    const node = Number(link.body.readBigUInt64LE(0))
    expect(b.ask(F.FUSE_READLINK, node).body.toString()).toBe('../to/there')
    const second = b.ask(F.FUSE_LINK, 1, u64(node), str('second'))
    expect(second.body.readUInt32LE(40 + 64)).toBe(2)
    expect(b.ask(F.FUSE_UNLINK, 1, str('second')).error).toBe(OK)
    expect(b.ask(F.FUSE_UNLINK, 1, str('second')).error).toBe(-L.ENOENT)
    mkdir('d')
    expect(b.ask(F.FUSE_UNLINK, 1, str('d')).error).toBe(-L.EISDIR)
    expect(b.ask(F.FUSE_RMDIR, 1, str('d'))).toMatchObject({ error: OK, body: Buffer.alloc(0) })
  })

  it('renames with RENAME and RENAME2, whose flags arrive', () => {
    const d = mkdir('d')
    mkdir('a')
    expect(b.ask(F.FUSE_RENAME, 1, u64(d), str('a'), str('b')).error).toBe(OK)
    const back = b.ask(F.FUSE_RENAME2, d, u64(1), u32(L.RENAME_NOREPLACE, 0), str('b'), str('d'))
    expect(back.error).toBe(-L.EEXIST)
    expect(b.fs.calls).toEqual(['rename a b 0', 'rename b d 1'])
  })
})

describe('listings', () => {
  it('packs fuse_dirent records, padded to 8 bytes', () => {
    const node = mkdir('abc')
    const { body } = b.ask(F.FUSE_READDIR, 1, u64(0, 0), u32(4096, 0), u64(0), u32(0, 0))
    const record = (ino: number, next: number, name: string) =>
      Buffer.concat([
        u64(ino, next),
        u32(name.length, 4),
        Buffer.from(name),
        Buffer.alloc((8 - (name.length % 8)) % 8),
      ])
    expect(body).toEqual(Buffer.concat([record(1, 1, '.'), record(1, 2, '..'), record(node, 3, 'abc')]))
  })

  it('goes on at the cookie, and fills no more than was asked for', () => {
    for (let i = 0; i < 100; i++) mkdir(`directory-${i}`)
    const names: string[] = []
    let cookie = 0
    for (let rounds = 0; rounds < 200; rounds++) {
      const { body } = b.ask(F.FUSE_READDIR, 1, u64(0, cookie), u32(300, 0), u64(0), u32(0, 0))
      expect(body.length).toBeLessThanOrEqual(300)
      if (body.length === 0) break
      for (let at = 0; at < body.length; ) {
        const length = body.readUInt32LE(at + 16)
        cookie = Number(body.readBigUInt64LE(at + 8))
        names.push(body.toString('latin1', at + 24, at + 24 + length))
        at += Math.ceil((24 + length) / 8) * 8
      }
    }
    expect(names.length).toBe(102)
    expect(new Set(names).size).toBe(102)
  })

  it('packs fuse_direntplus, and counts only what is packed as looked up', () => {
    const first = mkdir('first')
    const second = mkdir('second')
    // Room for `.`, `..` and one more entry of 152 + name, rounded up.
    const size = 160 + 160 + 160
    const { body } = b.ask(F.FUSE_READDIRPLUS, 1, u64(0, 0), u32(size, 0), u64(0), u32(0, 0))
    expect(body.length).toBe(size)
    expect(body.readBigUInt64LE(0)).toBe(0n)
    expect(body.readBigUInt64LE(320)).toBe(BigInt(first))
    expect(body.readUInt32LE(320 + 40 + 60)).toBe(L.S_IFDIR | 0o755)
    expect(body.toString('latin1', 320 + 152, 320 + 157)).toBe('first')
    expect(b.fs.lookups(first)).toBe(2)
    expect(b.fs.lookups(second)).toBe(1)
  })

  it('leaves opening directories to the kernel, but not where it does not know how', () => {
    expect(b.ask(F.FUSE_OPENDIR, 1, u32(0, 0)).error).toBe(-L.ENOSYS)
    expect(b.ask(F.FUSE_RELEASEDIR, 1, u64(0), u32(0, 0), u64(0)).error).toBe(OK)
    expect(b.ask(F.FUSE_FSYNCDIR, 1, u64(0), u32(0, 0)).error).toBe(OK)
    b = new Bench({ timeout: 0 })
    b.init()
    expect(b.ask(F.FUSE_OPENDIR, 1, u32(0, 0)).body).toEqual(Buffer.alloc(16))
  })
})

describe('open files', () => {
  it('creates, writes, reads and releases', () => {
    const f = create('f')
    expect(f.flags).toBe(F.FOPEN_KEEP_CACHE | F.FOPEN_NOFLUSH)
    expect(write(f, 3, 'hello').body).toEqual(u32(5, 0))
    expect(read(f, 0, 4096).body).toEqual(Buffer.from('\0\0\0hello'))
    expect(read(f, 6, 3).body.toString()).toBe('lo')
    expect(read(f, 100, 4096).body.length).toBe(0)
    expect(b.ask(F.FUSE_FLUSH, f.node, u64(f.fh), u32(0, 0), u64(0)).error).toBe(-L.ENOSYS)
    expect(b.ask(F.FUSE_FSYNC, f.node, u64(f.fh), u32(1, 0)).error).toBe(OK)
    expect(b.fs.calls).toEqual(['fsync'])
    expect(b.ask(F.FUSE_RELEASE, f.node, u64(f.fh), u32(0, 0), u64(0)).error).toBe(OK)
    expect(b.fs.openFiles).toBe(0)
    expect(read(f, 0, 10).error).toBe(-L.EBADF)
  })

  it('opens, truncating where asked', () => {
    const f = create('f')
    write(f, 0, 'content')
    const { error, body } = b.ask(F.FUSE_OPEN, f.node, u32(L.O_RDWR | L.O_TRUNC, 0))
    expect(error).toBe(OK)
    expect(body.length).toBe(16)
    expect(read(f, 0, 10).body.length).toBe(0)
  })

  it('moves a whole megabyte either way', () => {
    const f = create('f')
    const data = 'x'.repeat(1 << 20)
    expect(write(f, 0, data).body.readUInt32LE(0)).toBe(1 << 20)
    expect(read(f, 0, 1 << 20).body.equals(Buffer.from(data))).toBe(true)
  })

  it('answers TMPFILE, FALLOCATE, LSEEK and both forms of COPY_FILE_RANGE', () => {
    const tmp = b.ask(F.FUSE_TMPFILE, 1, u32(L.O_RDWR, L.S_IFREG | 0o600, 0, 0), str('/'))
    expect(tmp.error).toBe(OK)
    expect(tmp.body.readUInt32LE(40 + 64)).toBe(0)
    const f = create('f')
    write(f, 0, 'abcdef')
    expect(b.ask(F.FUSE_FALLOCATE, f.node, u64(f.fh, 0, 10), u32(0, 0)).error).toBe(OK)
    expect(b.ask(F.FUSE_LSEEK, f.node, u64(f.fh, 4), u32(L.SEEK_HOLE, 0)).body).toEqual(u64(10))
    expect(b.ask(F.FUSE_LSEEK, f.node, u64(f.fh, 40), u32(L.SEEK_DATA, 0)).error).toBe(-L.ENXIO)
    const to = create('to')
    const body = u64(f.fh, 1, to.node, to.fh, 0, 3, 0)
    expect(b.ask(F.FUSE_COPY_FILE_RANGE, f.node, body).body).toEqual(u32(3, 0))
    expect(b.ask(F.FUSE_COPY_FILE_RANGE_64, f.node, body).body).toEqual(u64(3))
    expect(read(to, 0, 100).body.toString()).toBe('bcd')
    expect(b.ask(F.FUSE_COPY_FILE_RANGE, f.node, u64(f.fh, 1, to.node, to.fh, 0, 3, 1)).error).toBe(-L.EINVAL)
  })
})

describe('attributes', () => {
  const setattr = (node: number, valid: number, at: Record<number, Buffer>) => {
    const body = Buffer.alloc(88)
    body.writeUInt32LE(valid, 0)
    for (const [offset, value] of Object.entries(at)) value.copy(body, Number(offset))
    return b.ask(F.FUSE_SETATTR, node, body)
  }

  it('sets each field that is marked, and no other', () => {
    const f = create('f')
    const mode = setattr(f.node, F.FATTR_MODE, { 68: u32(0o4751), 76: u32(5, 6) })
    expect(mode.body.readUInt32LE(16 + 60)).toBe(L.S_IFREG | 0o4751)
    expect(mode.body.readUInt32LE(16 + 68)).toBe(1000)
    const owner = setattr(f.node, F.FATTR_UID | F.FATTR_GID, { 76: u32(5, 6) })
    expect(owner.body.subarray(16 + 68, 16 + 76)).toEqual(u32(5, 6))
    const size = setattr(f.node, F.FATTR_SIZE, { 16: u64(123) })
    expect(size.body.readBigUInt64LE(16 + 8)).toBe(123n)
  })

  it('carries times before 1970 and to the nanosecond', () => {
    const f = create('f')
    const { body } = setattr(f.node, F.FATTR_ATIME | F.FATTR_MTIME, {
      32: u64(-1, 5_000_000_000),
      56: u32(999_999_999, 1),
    })
    expect(body.readBigInt64LE(16 + 24)).toBe(-1n)
    expect(body.readBigInt64LE(16 + 32)).toBe(5_000_000_000n)
    expect(body.subarray(16 + 48, 16 + 56)).toEqual(u32(999_999_999, 1))
  })

  it('answers STATX with the birth time', () => {
    const f = create('f')
    const { body } = b.ask(F.FUSE_STATX, f.node, u32(0, 0), u64(0), u32(0, 0xfff))
    expect(body.length).toBe(288)
    expect(body.readUInt32LE(32)).toBe(0xfff)
    expect(body.readUInt16LE(60)).toBe(L.S_IFREG | 0o644)
    expect(body.readBigInt64LE(112)).toBe(1000n)
    expect(body.readUInt32LE(120)).toBe(5)
  })

  it('splits a device number for STATX', () => {
    const { body: entry } = b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFBLK, 0xabc12def, 0, 0), str('dev'))
    const node = Number(entry.readBigUInt64LE(0))
    const { body } = b.ask(F.FUSE_STATX, node, u32(0, 0), u64(0), u32(0, 0xfff))
    expect(body.subarray(160, 168)).toEqual(u32(0x12d, 0xabcef))
  })

  it('answers STATFS with fuse_kstatfs', () => {
    const { body } = b.ask(F.FUSE_STATFS, 1)
    expect(body).toEqual(
      Buffer.concat([u64(1000, 500, 500, 100, 50), u32(4096, 255, 4096, 0), Buffer.alloc(24)]),
    )
  })
})

describe('xattrs', () => {
  const set = (name: string, value: string, flags = 0) =>
    b.ask(F.FUSE_SETXATTR, 1, u32(value.length, flags, 0, 0), str(name), Buffer.from(value))
  const get = (name: string, size: number) => b.ask(F.FUSE_GETXATTR, 1, u32(size, 0), str(name))

  it('sets, tells sizes, reads, lists and removes', () => {
    expect(set('user.a', 'value').error).toBe(OK)
    expect(set('user.a', 'x', L.XATTR_CREATE).error).toBe(-L.EEXIST)
    expect(get('user.a', 0).body).toEqual(u32(5, 0))
    expect(get('user.a', 5).body.toString()).toBe('value')
    expect(get('user.a', 4).error).toBe(-L.ERANGE)
    expect(get('user.none', 0).error).toBe(-L.ENODATA)
    expect(b.ask(F.FUSE_LISTXATTR, 1, u32(0, 0)).body).toEqual(u32(7, 0))
    expect(b.ask(F.FUSE_LISTXATTR, 1, u32(64, 0)).body.toString()).toBe('user.a\0')
    expect(b.ask(F.FUSE_REMOVEXATTR, 1, str('user.a')).error).toBe(OK)
    expect(b.ask(F.FUSE_REMOVEXATTR, 1, str('user.a')).error).toBe(-L.ENODATA)
  })

  it('takes the short form of SETXATTR from kernels that have no other', () => {
    b = new Bench()
    b.init(request(26, 0, [u32(7, 31, 0, 0)]))
    expect(b.ask(F.FUSE_SETXATTR, 1, u32(2, 0), str('user.b'), Buffer.from('ok')).error).toBe(OK)
    expect(get('user.b', 2).body.toString()).toBe('ok')
  })

  it('tells of itself on the root alone, the value as long as its size was told', () => {
    const size = get('layerfs.status', 0).body.readUInt32LE(0)
    const { body } = get('layerfs.status', size + 10)
    expect(body.length).toBe(size)
    const status = JSON.parse(body.toString()) as Record<string, unknown>
    expect(status).toMatchObject({ protocol: '7.45', engine: { name: 'memfs', inodes: 1 } })
    const stats = JSON.parse(get('layerfs.stats', 65536).body.toString()) as { ops: unknown }
    expect(stats.ops).toMatchObject({ GETXATTR: { count: 2 } })
    expect(get('layerfs.status', 10).error).toBe(-L.ERANGE)
    const d = mkdir('d')
    expect(b.ask(F.FUSE_GETXATTR, d, u32(0, 0), str('layerfs.status')).error).toBe(-L.ENODATA)
  })
})

describe('the rest', () => {
  it('answers ENOTTY to IOCTL, ENOSYS to what no file here has, nothing to INTERRUPT', () => {
    expect(b.ask(F.FUSE_IOCTL, 1, Buffer.alloc(32)).error).toBe(-L.ENOTTY)
    for (const opcode of [F.FUSE_POLL, F.FUSE_BMAP, F.FUSE_ACCESS, F.FUSE_GETLK, 62, 4096]) {
      expect(b.ask(opcode, 1, Buffer.alloc(64)).error).toBe(-L.ENOSYS)
    }
    expect(b.raw(request(F.FUSE_INTERRUPT, 0, [u64(1)]))).toBeUndefined()
    expect(b.ask(F.FUSE_SYNCFS, 1, u64(0)).error).toBe(OK)
    expect(b.ask(F.FUSE_DESTROY, 0).error).toBe(OK)
  })

  it("never passes an engine's ENOSYS on: the kernel would remember it for every file", () => {
    expect(b.ask(F.FUSE_LOOKUP, 1, str('enosys')).error).toBe(-L.EOPNOTSUPP)
  })

  it('turns an exception of the engine into EIO and a line, and goes on', () => {
    expect(b.ask(F.FUSE_LOOKUP, 1, str('throw')).error).toBe(-L.EIO)
    expect(b.log.length).toBe(1)
    expect(b.log[0]).toContain('LOOKUP of node 1')
    expect(b.log[0]).toContain('as asked')
    expect(b.ask(F.FUSE_STATFS, 1).error).toBe(OK)
  })

  it('says EIO where the kernel refuses a reply, so that the caller does not wait for ever', () => {
    b.kernel.reject = -L.EINVAL
    expect(b.ask(F.FUSE_STATFS, 1).error).toBe(-L.EIO)
    expect(b.log.length).toBe(1)
    b.kernel.reject = -L.ENOENT
    expect(b.raw(request(F.FUSE_STATFS, 1))).toBeUndefined()
    expect(b.log.length).toBe(1)
  })

  it('logs each request as one line where asked', () => {
    b = new Bench({ debug: true })
    b.init()
    mkdir('d')
    b.ask(F.FUSE_LOOKUP, 1, str('none'))
    b.ask(F.FUSE_UNLINK, 1, str('none'))
    const lines = b.log.map((line) => line.replace(/\d+us$/, 'T'))
    expect(lines).toEqual([
      'MKDIR node=1 "d" mode=0755 uid=1000 gid=1001 pid=77 -> node=2 ino=2 mode=040755 T',
      'LOOKUP node=1 "none" uid=1000 gid=1001 pid=77 -> no entry T',
      'UNLINK node=1 "none" uid=1000 gid=1001 pid=77 -> ENOENT T',
    ])
  })

  it('lets in root and the owner alone under allow_root', () => {
    b = new Bench({ onlyRootAnd: 500 })
    b.init()
    const as = (uid: number) => b.raw(request(F.FUSE_LOOKUP, 1, [str('x')], { uid }))?.error
    expect([as(0), as(500), as(501)]).toEqual([OK, OK, -L.EACCES])
  })
})
