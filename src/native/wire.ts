/** The binding's calling conventions: arguments in its order and packing, one answer for each request, always. */
import { EILSEQ, EIO } from '../abi/linux.js'
import type { Name, Result } from '../vfs.js'
import type { Binding, Handler, Operation, Plain, Request } from './binding.js'
import { OPERATIONS } from './binding.js'
import type { Counters } from './counters.js'
import { STAT_INTS, STATVFS_INTS } from './stat.js'
import { bytesOf } from './text.js'

/** libfuse's operations as functions: paths as the binding decodes them, `fd` as open and create answered. */
export interface Operations {
  getattr(path: string, out: Uint32Array): Result
  fgetattr(path: string, fd: number, out: Uint32Array): Result
  statfs(path: string, out: Uint32Array): Result
  readdir(path: string, names: string[], entries: Uint32Array[]): Result
  readlink(path: string): string | Result
  /** @returns a handle above 0 */
  open(path: string, flags: number): Result
  create(path: string, mode: number): Result
  read(fd: number, dst: Buffer, pos: number): Result
  write(fd: number, src: Buffer, pos: number): Result
  flush(fd: number): Result
  release(fd: number): Result
  fsync(fd: number, dataOnly: boolean): Result
  fsyncdir(path: string, dataOnly: boolean): Result
  truncate(path: string, size: number): Result
  ftruncate(fd: number, size: number): Result
  /** @param atime milliseconds since the epoch, as is `mtime` */
  utimens(path: string, atime: number, mtime: number): Result
  chown(path: string, uid: number, gid: number): Result
  chmod(path: string, mode: number): Result
  mknod(path: string, mode: number, rdev: number): Result
  mkdir(path: string, mode: number): Result
  symlink(target: string, path: string): Result
  link(from: string, to: string): Result
  unlink(path: string): Result
  rmdir(path: string): Result
  rename(from: string, to: string): Result
  setxattr(path: string, name: Name, value: Buffer, flags: number): Result
  getxattr(path: string, name: Name, dst: Buffer): Result
  listxattr(path: string, dst: Buffer): Result
  removexattr(path: string, name: Name): Result
  /** A request has been answered. */
  settle(): void
}

/**
 * Where `fuse_thread_locals_t` keeps a utimens' first time, in milliseconds; the second follows. The binding hands the
 * first one over in both places, so the second is read from here. 64-bit pointers, as in every build there is.
 */
const ATIME_OFFSET = 104

const WORD = 2 ** 32

/** Room for every opcode of the binding. */
const OPCODES = 35

/** The handlers for `fuse_native_mount`, by opcode. */
export interface Wiring {
  readonly handlers: readonly Handler[]
  readonly implemented: Uint32Array
}

/**
 * @param ready called once the kernel has greeted the mount
 * @param failed told of an exception; the request it came from is answered with EIO
 */
export function wire(
  binding: Binding,
  ops: Operations,
  counters: Counters,
  ready: () => void,
  failed: (error: unknown) => void,
): Wiring {
  const stat = new Uint32Array(STAT_INTS)
  const statvfs = new Uint32Array(STATVFS_INTS)

  const run = <T>(op: Operation, call: () => T | Result): T | Result => {
    const start = performance.now()
    let result: T | Result
    try {
      result = call()
    } catch (error) {
      failed(error)
      result = -EIO
    }
    ops.settle()
    counters.count(op, performance.now() - start, typeof result === 'number' ? result : 0)
    return result
  }
  const plain = (request: Request, op: Plain, call: () => Result): void =>
    binding[`fuse_native_signal_${op}`](request, run(op, call))
  const wide = (low: number, high: number): number => low + high * WORD

  const table: Record<Operation, Handler> = {
    init: (request) => {
      binding.fuse_native_signal_init(request, 0)
      ready()
    },
    statfs: (request, _op, path: string) =>
      binding.fuse_native_signal_statfs(
        request,
        run('statfs', () => ops.statfs(path, statvfs)),
        statvfs,
      ),
    getattr: (request, _op, path: string) =>
      binding.fuse_native_signal_getattr(
        request,
        run('getattr', () => ops.getattr(path, stat)),
        stat,
      ),
    fgetattr: (request, _op, path: string, fd: number) =>
      binding.fuse_native_signal_fgetattr(
        request,
        run('fgetattr', () => ops.fgetattr(path, fd, stat)),
        stat,
      ),
    readdir: (request, _op, path: string) => {
      const names: string[] = []
      const entries: Uint32Array[] = []
      const result = run('readdir', () => ops.readdir(path, names, entries))
      binding.fuse_native_signal_readdir(request, result, names, entries)
    },
    readlink: (request, _op, path: string) => {
      const target = run('readlink', () => ops.readlink(path))
      if (typeof target === 'string') binding.fuse_native_signal_readlink(request, 0, target)
      else binding.fuse_native_signal_readlink(request, target, '')
    },
    open: (request, _op, path: string, flags: number) => {
      const fd = run('open', () => ops.open(path, flags))
      binding.fuse_native_signal_open(request, Math.min(fd, 0), Math.max(fd, 0))
    },
    create: (request, _op, path: string, mode: number) => {
      const fd = run('create', () => ops.create(path, mode))
      binding.fuse_native_signal_create(request, Math.min(fd, 0), Math.max(fd, 0))
    },
    read: (
      request,
      _op,
      _path: string,
      fd: number,
      dst: Buffer,
      _length: number,
      low: number,
      high: number,
    ) => {
      const count = run('read', () => ops.read(fd, dst, wide(low, high)))
      binding.fuse_native_signal_read(request, count, Math.max(count, 0), dst.buffer)
    },
    write: (
      request,
      _op,
      _path: string,
      fd: number,
      src: Buffer,
      _length: number,
      low: number,
      high: number,
    ) => {
      const count = run('write', () => ops.write(fd, src, wide(low, high)))
      binding.fuse_native_signal_write(request, count, Math.max(count, 0), src.buffer)
    },
    setxattr: (request, _op, path: string, name: string, value: Buffer, _position: number, flags: number) => {
      const result = run('setxattr', () => withName(name, (bytes) => ops.setxattr(path, bytes, value, flags)))
      binding.fuse_native_signal_setxattr(request, result, value.buffer)
    },
    getxattr: (request, _op, path: string, name: string, dst: Buffer) => {
      const size = run('getxattr', () => withName(name, (bytes) => ops.getxattr(path, bytes, dst)))
      binding.fuse_native_signal_getxattr(request, size, dst.buffer)
    },
    listxattr: (request, _op, path: string, dst: Buffer) => {
      const size = run('listxattr', () => ops.listxattr(path, dst))
      binding.fuse_native_signal_listxattr(request, size, dst.buffer)
    },
    removexattr: (request, _op, path: string, name: string) =>
      plain(request, 'removexattr', () => withName(name, (bytes) => ops.removexattr(path, bytes))),
    utimens: (request, _op, path: string, low: number, high: number) =>
      plain(request, 'utimens', () => {
        const atime = request.readBigInt64LE(ATIME_OFFSET)
        if (BigInt.asUintN(64, atime) !== (BigInt(high) << 32n) + BigInt(low)) return -EIO
        return ops.utimens(path, Number(atime), Number(request.readBigInt64LE(ATIME_OFFSET + 8)))
      }),
    flush: (request, _op, _path: string, fd: number) => plain(request, 'flush', () => ops.flush(fd)),
    release: (request, _op, _path: string, fd: number) => plain(request, 'release', () => ops.release(fd)),
    fsync: (request, _op, _path: string, dataOnly: number, fd: number) =>
      plain(request, 'fsync', () => ops.fsync(fd, dataOnly !== 0)),
    fsyncdir: (request, _op, path: string, dataOnly: number) =>
      plain(request, 'fsyncdir', () => ops.fsyncdir(path, dataOnly !== 0)),
    truncate: (request, _op, path: string, low: number, high: number) =>
      plain(request, 'truncate', () => ops.truncate(path, wide(low, high))),
    ftruncate: (request, _op, _path: string, fd: number, low: number, high: number) =>
      plain(request, 'ftruncate', () => ops.ftruncate(fd, wide(low, high))),
    chown: (request, _op, path: string, uid: number, gid: number) =>
      plain(request, 'chown', () => ops.chown(path, uid, gid)),
    chmod: (request, _op, path: string, mode: number) => plain(request, 'chmod', () => ops.chmod(path, mode)),
    mknod: (request, _op, path: string, mode: number, rdev: number) =>
      plain(request, 'mknod', () => ops.mknod(path, mode, rdev)),
    mkdir: (request, _op, path: string, mode: number) => plain(request, 'mkdir', () => ops.mkdir(path, mode)),
    symlink: (request, _op, target: string, path: string) =>
      plain(request, 'symlink', () => ops.symlink(target, path)),
    link: (request, _op, from: string, to: string) => plain(request, 'link', () => ops.link(from, to)),
    unlink: (request, _op, path: string) => plain(request, 'unlink', () => ops.unlink(path)),
    rmdir: (request, _op, path: string) => plain(request, 'rmdir', () => ops.rmdir(path)),
    rename: (request, _op, from: string, to: string) => plain(request, 'rename', () => ops.rename(from, to)),
  }

  const handlers: Handler[] = []
  const implemented = new Uint32Array(OPCODES)
  for (const name of OPERATIONS) {
    const op = binding[`op_${name}`]
    handlers[op] = table[name]
    implemented[op] = 1
  }
  return { handlers, implemented }
}

function withName(name: string, call: (bytes: Name) => Result): Result {
  const bytes = bytesOf(name)
  return bytes === undefined ? -EILSEQ : call(bytes)
}
