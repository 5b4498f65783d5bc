import * as F from '../abi/fuse.js'
import { XATTR_RELOAD, XATTR_RESET } from '../abi/layerfs.js'
import {
  EACCES,
  EAGAIN,
  EINTR,
  EIO,
  EMFILE,
  ENODEV,
  ENOENT,
  ENOSYS,
  EOPNOTSUPP,
  EPROTO,
} from '../abi/linux.js'
import { errnoName, errnoText, LayerfsError } from '../errors.js'
import { type Filesystem, PARKED, type Result } from '../vfs.js'
import { type BackingDevice, Backings } from './backing.js'
import { Context, MALFORMED, NO_REPLY } from './context.js'
import { Control } from './control.js'
import type { HelperThreads } from './helpers.js'
import { type Features, MAX_IO, negotiate, type Wishes } from './init.js'
import { isForSession } from './meta.js'
import { invalInode } from './notify.js'
import { looksOnly, mayLack, OPS, type Op, opName, secondNode, touchesFiles } from './ops.js'
import { Preload } from './preload.js'
import { ReadAround } from './readaround.js'
import { Reply } from './reply.js'
import { Request } from './request.js'
import { Splice } from './splice.js'
import { Counters } from './stats.js'
import { describe, outcome } from './trace.js'

/** The kernel's end: /dev/fuse, or a test's. Calls answer as read(2), write(2), ioctl(2) with -errno. */
export interface Device extends BackingDevice {
  /** Helper threads write to it themselves. */
  readonly fd: number
  /** One whole request. Blocks. */
  read(dst: Buffer): Result
  write(src: Buffer, count: number): Result
  /** As `SendFile`. */
  sendFile(head: Buffer, headBytes: number, fd: number, pos: number, count: number): Result
  /** Waits for a request or for `event` (eventfd(2)). @returns whether the event is there */
  endedBefore(event: number): boolean
  /** As `Waiter`. */
  heard(tid: number, now: number, bytes: number): void
}

export interface SessionOptions {
  /** Seconds for which the kernel may keep names and attributes. */
  timeout: number
  writeback: boolean
  passthrough: boolean
  /** Backing files may lie on an overlayfs: nothing can be stacked upon the mount then. */
  lowers?: boolean
  /** The kernel may open files by itself where the filesystem has them read unopened; then there is no passthrough. */
  unopened?: boolean
  /** The kernel checks no permissions on this mount. */
  unchecked?: boolean
  /** Requests of other users than root and this one are answered EACCES: the `allow_root` of libfuse. */
  onlyRootAnd?: number
  /** Log each request. */
  debug: boolean
  counters?: Counters
  /** One line for the log, without its newline. */
  log: (line: string) => void
  /** Threads for what takes long; without any the session does it itself. */
  helpers?: HelperThreads
  /** Hears how many open files a reset or reload has left without a name, or -errno; its notifications went before. */
  settled?: (orphans: Result) => void
  /** Asked after each request, and when `read` answers EINTR: whether to end. */
  stopped?: () => boolean
  /** What `layerfs.status` tells of the mount, next to what the session and the engine know. */
  status?: () => Record<string, unknown>
}

/** Requests that come with a body of one page besides their data. */
const REQUEST_BYTES = MAX_IO + 4096
/** Errnos that fuse_out_header takes are below this. */
const MAX_ERRNO = 512
/** A request whose work a helper thread does, and when it came (performance.now). */
interface Parked {
  request: Buffer
  came: number
}

/** Requests that others may send under `allow_root`: they concern what was opened with permission, or nobody's file. */
const ANYBODY: ReadonlySet<number> = new Set([
  F.FUSE_FORGET,
  F.FUSE_BATCH_FORGET,
  F.FUSE_READ,
  F.FUSE_WRITE,
  F.FUSE_FLUSH,
  F.FUSE_RELEASE,
  F.FUSE_FSYNC,
  F.FUSE_INTERRUPT,
  F.FUSE_READDIR,
  F.FUSE_READDIRPLUS,
  F.FUSE_RELEASEDIR,
  F.FUSE_DESTROY,
])

/**
 * Serves one mount: reads a request, runs its row of the table, writes the reply; one at a time, on one thread,
 * until the device says that the mount is gone.
 */
export class Session {
  readonly counters: Counters
  private readonly device: Device
  private readonly options: SessionOptions
  private readonly x: Context
  private readonly stopped: () => boolean
  /** Requests whose work a helper thread does, as they came, oldest first. */
  private parked: Parked[] = []

  constructor(fs: Filesystem, device: Device, options: SessionOptions) {
    this.device = device
    this.options = options
    this.stopped = options.stopped ?? (() => false)
    this.counters = options.counters ?? new Counters()
    if (options.helpers !== undefined) fs.employ?.(options.helpers)
    const reply = new Reply(MAX_IO, options.timeout)
    this.x = new Context(
      fs,
      new Request(REQUEST_BYTES),
      reply,
      new Backings(device, (node) => {
        const m = invalInode(node, -1, 0)
        device.write(m, m.length)
      }),
      new Preload(fs, reply, (src, count) => device.write(src, count)),
      new Splice(fs, reply, (head, headBytes, fd, pos, count) =>
        device.sendFile(head, headBytes, fd, pos, count),
      ),
      new ReadAround(fs, options.helpers, device.fd),
      new Control(
        () => this.status(),
        () => this.stats(),
        new Map([
          [XATTR_RESET, () => fs.reset?.() ?? -EOPNOTSUPP],
          [XATTR_RELOAD, () => fs.reload?.() ?? -EOPNOTSUPP],
        ]),
        options.settled,
      ),
      this.counters,
    )
  }

  get features(): Features {
    return this.x.features
  }

  /** What the mount and its engine tell about themselves. */
  status(): Record<string, unknown> {
    const { features, backings, preload, splice, around, fs } = this.x
    return {
      ...this.options.status?.(),
      protocol: `7.${features.minor}`,
      features: features.names,
      passthrough: { enabled: backings.enabled, granted: backings.granted, refused: backings.refused },
      preloaded: preload.given,
      spliced: splice.given,
      readAround: around.given,
      memory: process.memoryUsage.rss(),
      engine: fs.status?.() ?? {},
    }
  }

  private stats(): Record<string, unknown> {
    return {
      ...this.counters.snapshot(opName),
      memory: process.memoryUsage.rss(),
      engine: this.x.fs.status?.() ?? {},
    }
  }

  /**
   * Reads and answers FUSE_INIT, which the kernel sends first.
   * @throws LayerfsError UNSUPPORTED where the kernel is too old, MOUNT_FAILED where it went away
   */
  init(): Features {
    const { x } = this
    const wishes: Wishes = {
      writeback: this.options.writeback,
      passthrough: this.options.passthrough,
      stacked: this.options.lowers === true,
      endless: x.reply.endless,
      permissions: this.options.unchecked !== true,
      unopened: this.options.unopened === true && x.fs.readsUnopened === true,
    }
    for (;;) {
      const n = this.next()
      if (n < 0) throw new LayerfsError('MOUNT_FAILED', `the kernel gave up the mount: ${errnoText(n)}`)
      if (!x.req.load(n) || x.req.opcode !== F.FUSE_INIT || x.req.size < F.INIT_IN.flags + 4) {
        this.answer(-EIO)
        continue
      }
      const features = negotiate(x.req, x.reply, wishes)
      if (typeof features === 'string') {
        this.answer(-EPROTO)
        throw new LayerfsError('UNSUPPORTED', features)
      }
      this.answer(F.INIT_OUT.size)
      if (features === undefined) continue
      x.features = features
      x.backings.enabled = features.passthrough
      return features
    }
  }

  /** Serves until the mount is gone or the session is told to stop. */
  run(): void {
    const { helpers } = this.options
    while (!this.stopped()) {
      if (this.parked.length > 0 && helpers !== undefined && this.device.endedBefore(helpers.event)) {
        helpers.drain()
        this.resume()
        continue
      }
      const n = this.next()
      if (n === -ENODEV) return
      if (n < 0) {
        this.options.log(`reading a request failed: ${errnoText(n)}`)
        return
      }
      this.serve(n)
    }
  }

  /** Call once the helpers have ended. */
  close(): void {
    this.x.around.close()
  }

  /** The size of the next request; -ENODEV at the end. */
  private next(): number {
    for (;;) {
      const n = this.device.read(this.x.req.buffer)
      // ENOENT: the request was withdrawn while it was being read.
      if (n === -EINTR || n === -EAGAIN || n === -ENOENT) {
        if (this.stopped()) return -ENODEV
        continue
      }
      // A mount that is gone reads as its end.
      if (n === 0) return -ENODEV
      return n
    }
  }

  /** A job has ended: runs every parked request again; those whose job goes on are parked anew. */
  private resume(): void {
    const again = this.parked
    this.parked = []
    for (const { request, came } of again) this.serve(request.copy(this.x.req.buffer), came)
  }

  /** Handles the request of `n` bytes in the buffer. @param came when it was first read, if it had to be parked since */
  serve(n: number, came?: number): void {
    const { x } = this
    const began = performance.now()
    const whole = n >= F.IN_HEADER && x.req.load(n)
    if (n < F.IN_HEADER) {
      this.options.log(`a request of ${n} bytes has no header`)
      return
    }
    this.device.heard(x.req.caller.pid, began, whole ? x.req.fileBytes : 0)
    const op = OPS[x.req.opcode]
    const line = this.options.debug && op !== undefined && whole ? describe(op, x) : undefined
    const result = whole ? this.handle(came ?? began) : op?.silent === true ? NO_REPLY : MALFORMED
    if (result === PARKED) {
      this.parked.push({ request: Buffer.from(x.req.buffer.subarray(0, n)), came: came ?? began })
      return
    }
    if (result !== NO_REPLY) this.answer(result)
    const ms = performance.now() - began
    if (x.req.opcode < F.OPCODES) this.counters.count(x.req.opcode, ms, result < 0 && result !== NO_REPLY)
    if (line !== undefined && op !== undefined) this.options.log(`${line} -> ${outcome(op, x, result, ms)}`)
  }

  private handle(came: number): number {
    const { x } = this
    const op = OPS[x.req.opcode]
    if (op === undefined) return -ENOSYS
    if (x.req.size < op.min) return op.silent ? NO_REPLY : MALFORMED
    if (this.options.onlyRootAnd !== undefined && this.denied()) return -EACCES
    try {
      if (this.waits(op, came)) return PARKED
      let r = op.run(x)
      if (r === -EMFILE && x.fs.closeSome?.()) r = op.run(x)
      return r === -ENOSYS && !mayLack(op) ? -EOPNOTSUPP : r
    } catch (error) {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.options.log(`${op.name} of node ${x.req.node} failed within layerfs: ${what}`)
      return op.silent ? NO_REPLY : -EIO
    }
  }

  /** Whether a filesystem that the request needs has yet to answer. */
  private waits(op: Op, came: number): boolean {
    const { fs, req } = this.x
    if (fs.reachable === undefined || !touchesFiles(op) || isForSession(this.x)) return false
    const second = secondNode(req)
    const other = second === undefined ? 0 : fs.reachable(second, came, true)
    return fs.reachable(req.node, came, !looksOnly(op)) === PARKED || other === PARKED
  }

  private denied(): boolean {
    const { uid } = this.x.req.caller
    return uid !== 0 && uid !== this.options.onlyRootAnd && !ANYBODY.has(this.x.req.opcode)
  }

  /** Sends a body of `result` bytes, or an error. */
  private answer(result: number): void {
    const { req, reply } = this.x
    const error = result >= 0 ? 0 : result > -MAX_ERRNO ? result : -EIO
    const total = reply.head(req, error, Math.max(result, 0))
    const sent = this.device.write(reply.buffer, total)
    // ENOENT: nobody waits for it any more. ENODEV: the mount is gone.
    if (sent >= 0 || sent === -ENOENT || sent === -ENODEV) return
    this.options.log(`the kernel refused the reply to ${opName(req.opcode)}: ${errnoName(sent)}`)
    if (error === 0) this.device.write(reply.buffer, reply.head(req, -EIO, 0))
  }
}
