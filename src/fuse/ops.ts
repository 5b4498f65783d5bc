import * as F from '../abi/fuse.js'
import { ENOSYS } from '../abi/linux.js'
import type { NodeId } from '../vfs.js'
import { type Context, type Handler, NO_REPLY } from './context.js'
import * as io from './io.js'
import * as meta from './meta.js'
import type { Request } from './request.js'
import * as tree from './tree.js'

/** What an opcode's reply holds, for readable logs. */
export type Answer = 'entry' | 'attr' | 'open' | 'create' | 'bytes' | 'count' | 'none'

/** All there is to know of one opcode. */
export interface Op {
  name: string
  /** The smallest body. */
  min: number
  run: Handler
  answer: Answer
  /** The request's arguments, readable. */
  show: (r: Request) => string
  /** The handler never gets to answer: what went wrong with the request is not told to the kernel. */
  silent: boolean
}

/** Never an answer for one file's sake: the kernel remembers ENOSYS for the life of the mount. */
const unsupported: Handler = (_x: Context) => -ENOSYS

const nothing = (): string => ''
const nameAt =
  (at: number) =>
  (r: Request): string =>
    JSON.stringify(r.name(at) ?? '')
const twoNames =
  (at: number) =>
  (r: Request): string => {
    const from = nameAt(at)(r)
    return `${from} to ${r.u64(F.RENAME_IN.newDir)} ${nameAt(r.end)(r)}`
  }
const octal = (n: number): string => `0${n.toString(8)}`
const modeAndName =
  (mode: number, at: number) =>
  (r: Request): string =>
    `${nameAt(at)(r)} mode=${octal(r.u32(mode))}`
const range = (r: Request): string =>
  `fh=${r.u64(F.READ_IN.fh)} pos=${r.u64(F.READ_IN.pos)} size=${r.u32(F.READ_IN.count)}`
const handle = (r: Request): string => `fh=${r.u64(0)}`
const sizeAsked = (r: Request): string => `size=${r.u32(F.GETXATTR_IN.count)}`

const table: Op[] = []

/** A row: opcode, name, smallest body, handler, what it answers, how its arguments read. */
function row(
  opcode: number,
  name: string,
  min: number,
  run: Handler,
  answer: Answer = 'none',
  show: (r: Request) => string = nothing,
  silent = false,
): void {
  table[opcode] = { name, min, run, answer, show, silent }
}

row(F.FUSE_LOOKUP, 'LOOKUP', 2, tree.lookup, 'entry', nameAt(0))
row(
  F.FUSE_FORGET,
  'FORGET',
  F.FORGET_IN.size,
  tree.forget,
  'none',
  (r) => `count=${r.u64(F.FORGET_IN.count)}`,
  true,
)
row(
  F.FUSE_BATCH_FORGET,
  'BATCH_FORGET',
  F.BATCH_FORGET_IN.size,
  tree.batchForget,
  'none',
  (r) => `nodes=${r.u32(F.BATCH_FORGET_IN.count)}`,
  true,
)
row(F.FUSE_GETATTR, 'GETATTR', F.GETATTR_IN.size, meta.getattr, 'attr')
row(
  F.FUSE_SETATTR,
  'SETATTR',
  F.SETATTR_IN.size,
  meta.setattr,
  'attr',
  (r) => `valid=0x${r.u32(F.SETATTR_IN.valid).toString(16)}`,
)
row(F.FUSE_STATX, 'STATX', F.STATX_IN.size, meta.statx, 'attr')
row(F.FUSE_READLINK, 'READLINK', 0, meta.readlink, 'bytes')
row(F.FUSE_SYMLINK, 'SYMLINK', 4, tree.symlink, 'entry', nameAt(0))
row(
  F.FUSE_MKNOD,
  'MKNOD',
  F.MKNOD_IN.size + 2,
  tree.mknod,
  'entry',
  modeAndName(F.MKNOD_IN.mode, F.MKNOD_IN.size),
)
row(
  F.FUSE_MKDIR,
  'MKDIR',
  F.MKDIR_IN.size + 2,
  tree.mkdir,
  'entry',
  modeAndName(F.MKDIR_IN.mode, F.MKDIR_IN.size),
)
row(F.FUSE_UNLINK, 'UNLINK', 2, tree.unlink, 'none', nameAt(0))
row(F.FUSE_RMDIR, 'RMDIR', 2, tree.rmdir, 'none', nameAt(0))
row(F.FUSE_RENAME, 'RENAME', F.RENAME_IN.size + 4, tree.rename, 'none', twoNames(F.RENAME_IN.size))
row(F.FUSE_RENAME2, 'RENAME2', F.RENAME2_IN.size + 4, tree.rename2, 'none', twoNames(F.RENAME2_IN.size))
row(
  F.FUSE_LINK,
  'LINK',
  F.LINK_IN.size + 2,
  tree.link,
  'entry',
  (r) => `${nameAt(F.LINK_IN.size)(r)} of ${r.u64(F.LINK_IN.node)}`,
)
row(F.FUSE_OPENDIR, 'OPENDIR', F.OPEN_IN.size, tree.opendir)
row(F.FUSE_READDIR, 'READDIR', F.READ_IN.size, tree.readdir, 'bytes', range)
row(F.FUSE_READDIRPLUS, 'READDIRPLUS', F.READ_IN.size, tree.readdirplus, 'bytes', range)
row(F.FUSE_RELEASEDIR, 'RELEASEDIR', F.FH_IN.size, tree.releasedir)
row(F.FUSE_FSYNCDIR, 'FSYNCDIR', F.FSYNC_IN.size, tree.fsyncdir)

row(F.FUSE_OPEN, 'OPEN', F.OPEN_IN.size, io.open, 'open', (r) => `flags=${octal(r.u32(F.OPEN_IN.flags))}`)
row(
  F.FUSE_CREATE,
  'CREATE',
  F.CREATE_IN.size + 2,
  io.create,
  'create',
  modeAndName(F.CREATE_IN.mode, F.CREATE_IN.size),
)
row(F.FUSE_TMPFILE, 'TMPFILE', F.CREATE_IN.size, io.tmpfile, 'create')
row(F.FUSE_READ, 'READ', F.READ_IN.size, io.read, 'bytes', range)
row(F.FUSE_WRITE, 'WRITE', F.WRITE_IN.size, io.write, 'count', range)
// The kernel has written what was pending, and reported its errors, before it sends a FLUSH: told so, it sends none.
row(F.FUSE_FLUSH, 'FLUSH', 0, unsupported, 'none', handle)
row(F.FUSE_RELEASE, 'RELEASE', F.FH_IN.size, io.release, 'none', handle)
row(F.FUSE_FSYNC, 'FSYNC', F.FSYNC_IN.size, io.fsync, 'none', handle)
row(F.FUSE_FALLOCATE, 'FALLOCATE', F.FALLOCATE_IN.size, io.fallocate, 'none', handle)
row(F.FUSE_LSEEK, 'LSEEK', F.LSEEK_IN.size, io.lseek, 'none', handle)
row(F.FUSE_COPY_FILE_RANGE, 'COPY_FILE_RANGE', F.COPY_FILE_RANGE_IN.size, io.copyFileRange, 'none', handle)
row(
  F.FUSE_COPY_FILE_RANGE_64,
  'COPY_FILE_RANGE_64',
  F.COPY_FILE_RANGE_IN.size,
  io.copyFileRange,
  'none',
  handle,
)

row(F.FUSE_STATFS, 'STATFS', 0, meta.statfs)
row(F.FUSE_SYNCFS, 'SYNCFS', 0, meta.syncfs)
row(F.FUSE_SETXATTR, 'SETXATTR', F.SETXATTR_IN.compatSize + 2, meta.setxattr)
row(
  F.FUSE_GETXATTR,
  'GETXATTR',
  F.GETXATTR_IN.size + 2,
  meta.getxattr,
  'bytes',
  (r) => `${nameAt(F.GETXATTR_IN.size)(r)} ${sizeAsked(r)}`,
)
row(F.FUSE_LISTXATTR, 'LISTXATTR', F.GETXATTR_IN.size, meta.listxattr, 'bytes', sizeAsked)
row(F.FUSE_REMOVEXATTR, 'REMOVEXATTR', 2, meta.removexattr, 'none', nameAt(0))
row(
  F.FUSE_IOCTL,
  'IOCTL',
  F.IOCTL_IN.size,
  meta.ioctl,
  'none',
  (r) => `command=0x${r.u32(F.IOCTL_IN.command).toString(16)}`,
)
row(F.FUSE_INTERRUPT, 'INTERRUPT', 0, meta.interrupt, 'none', nothing, true)
row(F.FUSE_DESTROY, 'DESTROY', 0, meta.destroy)
// With default_permissions the kernel checks access(2) by itself once told so, polls files as always ready, and
// keeps locks. BMAP is for block devices.
row(F.FUSE_ACCESS, 'ACCESS', 0, unsupported)
row(F.FUSE_POLL, 'POLL', 0, unsupported)
row(F.FUSE_BMAP, 'BMAP', 0, unsupported)
row(F.FUSE_GETLK, 'GETLK', 0, unsupported)
row(F.FUSE_SETLK, 'SETLK', 0, unsupported)
row(F.FUSE_SETLKW, 'SETLKW', 0, unsupported)
row(F.FUSE_INIT, 'INIT', 0, unsupported)
row(F.FUSE_NOTIFY_REPLY, 'NOTIFY_REPLY', 0, () => NO_REPLY, 'none', nothing, true)

/** By opcode. Opcodes that are not here are answered ENOSYS, which tells the kernel to do without. */
export const OPS: readonly (Op | undefined)[] = table

export const opName = (opcode: number): string => table[opcode]?.name ?? `OPCODE_${opcode}`

/** Whether a negative answer of this opcode may be ENOSYS: only where the whole kind of request is unsupported. */
export const mayLack = (op: Op): boolean =>
  op.run === unsupported || op.run === tree.opendir || op.run === io.open

/** Requests that concern no file: they are answered from memory, or by the upper's filesystem as a whole. */
const NO_FILE: ReadonlySet<Handler> = new Set([meta.statfs, meta.syncfs, meta.destroy])

/** Whether answering a request takes files of the layers. */
export const touchesFiles = (op: Op): boolean => !op.silent && op.run !== unsupported && !NO_FILE.has(op.run)

const LOOKS: ReadonlySet<Handler> = new Set([
  meta.getattr,
  meta.statx,
  meta.getxattr,
  meta.listxattr,
  meta.readlink,
])

/** Whether a request wants to know no more of a node than its own attributes. */
export const looksOnly = (op: Op): boolean => LOOKS.has(op.run)

/** Where in its body a request names another node. */
const SECOND: ReadonlyMap<number, number> = new Map([
  [F.FUSE_RENAME, F.RENAME_IN.newDir],
  [F.FUSE_RENAME2, F.RENAME2_IN.newDir],
  [F.FUSE_LINK, F.LINK_IN.node],
  [F.FUSE_COPY_FILE_RANGE, F.COPY_FILE_RANGE_IN.outNode],
  [F.FUSE_COPY_FILE_RANGE_64, F.COPY_FILE_RANGE_IN.outNode],
])

/** The other node that a request is about. */
export function secondNode(r: Request): NodeId | undefined {
  const at = SECOND.get(r.opcode)
  return at === undefined ? undefined : r.u64(at)
}
