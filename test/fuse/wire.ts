import * as L from '../../src/abi/linux.js'
import { type Device, Session, type SessionOptions } from '../../src/fuse/session.js'
import type { Result } from '../../src/vfs.js'
import { MemFs } from '../support/memfs.js'

/** Fields of a request or reply, written out by width: the tests do not share the sources' table of offsets. */
export const u16 = (...values: number[]): Buffer => fields(2, values)
export const u32 = (...values: number[]): Buffer => fields(4, values)
export const u64 = (...values: (number | bigint)[]): Buffer => {
  const b = Buffer.alloc(values.length * 8)
  values.forEach((v, i) => {
    b.writeBigUInt64LE(BigInt.asUintN(64, BigInt(v)), i * 8)
  })
  return b
}
export const str = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1')

function fields(width: number, values: number[]): Buffer {
  const b = Buffer.alloc(values.length * width)
  values.forEach((v, i) => {
    b.writeUIntLE(v, i * width, width)
  })
  return b
}

export const UNIQUE = 0x1_2345_6789_0002n

export interface Sender {
  uid?: number
  gid?: number
  pid?: number
}

/** struct fuse_in_header and a body. */
export function request(opcode: number, node: number, body: Buffer[] = [], from: Sender = {}): Buffer {
  const payload = Buffer.concat(body)
  const { uid = 1000, gid = 1001, pid = 77 } = from
  return Buffer.concat([u32(40 + payload.length, opcode), u64(UNIQUE, node), u32(uid, gid, pid, 0), payload])
}

/** What a device was sent, split: struct fuse_out_header and the body. */
export interface Answer {
  error: number
  unique: bigint
  body: Buffer
}

export function parse(reply: Buffer): Answer {
  if (reply.readUInt32LE(0) !== reply.length) throw new Error('the length in the header is not the reply’s')
  return { error: reply.readInt32LE(4), unique: reply.readBigUInt64LE(8), body: reply.subarray(16) }
}

/** A kernel of a test: hands out queued requests, keeps replies, and is gone when the queue is empty. */
export class FakeKernel implements Device {
  constructor(readonly fd: number) {}

  readonly queue: Buffer[] = []
  readonly sent: Buffer[] = []
  readonly registered: number[] = []
  readonly closed: number[] = []
  /** What the next BACKING_OPEN answers instead of an id. */
  refuse = 0
  /** What the next write answers instead of taking the reply. */
  reject = 0
  private ids = 100

  read(dst: Buffer): Result {
    const next = this.queue.shift()
    if (next === undefined) return -L.ENODEV
    return next.copy(dst)
  }

  write(src: Buffer, count: number): Result {
    if (this.reject !== 0) {
      const r = this.reject
      this.reject = 0
      return r
    }
    this.sent.push(Buffer.from(src.subarray(0, count)))
    return count
  }

  /** What `sendFile` was asked for. */
  readonly spliced: { head: Buffer; fd: number; pos: number; count: number }[] = []
  splices = false
  sendFile(head: Buffer, headBytes: number, fd: number, pos: number, count: number): Result {
    if (!this.splices) return -L.EAGAIN
    this.spliced.push({ head: Buffer.from(head.subarray(0, headBytes)), fd, pos, count })
    return headBytes + count
  }

  /** Jobs that end before the next request is there. */
  ended = 0
  endedBefore(): boolean {
    return this.ended-- > 0
  }

  heard(): void {}

  backingOpen(fd: number): Result {
    if (this.refuse !== 0) return this.refuse
    this.registered.push(fd)
    return ++this.ids
  }

  backingClose(id: number): Result {
    this.closed.push(id)
    return 0
  }
}

/** All flags, and the high 32 that travel apart. */
export const ALL = 0xffffffff

export const initRequest = (major = 7, minor = 45, flags = ALL, flags2 = ALL): Buffer =>
  request(26, 0, [u32(major, minor, 0x20000, flags, flags2), Buffer.alloc(44)])

/** A session over the memory filesystem and a kernel of the test's. */
export class Bench {
  readonly kernel: FakeKernel
  readonly fs: MemFs
  readonly session: Session
  readonly log: string[] = []

  /** @param device what helper threads write to */
  constructor(options: Partial<SessionOptions> = {}, fs = new MemFs(), device = -1) {
    this.fs = fs
    this.kernel = new FakeKernel(device)
    this.session = new Session(fs, this.kernel, {
      timeout: 1e9,
      writeback: false,
      passthrough: false,
      debug: false,
      log: (line) => this.log.push(line),
      ...options,
    })
  }

  init(raw = initRequest()): Answer {
    this.kernel.queue.push(raw)
    this.session.init()
    return parse(this.kernel.sent.pop() as Buffer)
  }

  /** Sends bytes as they are. @returns the reply, if any */
  raw(bytes: Buffer): Answer | undefined {
    this.kernel.queue.push(bytes)
    this.session.run()
    const reply = this.kernel.sent.pop()
    return reply === undefined ? undefined : parse(reply)
  }

  /** Sends a request that must be answered. */
  ask(opcode: number, node: number, ...body: Buffer[]): Answer {
    const answer = this.raw(request(opcode, node, body))
    if (answer === undefined) throw new Error(`no answer to opcode ${opcode}`)
    return answer
  }
}
