/** Handlers of requests about open files. */

import * as F from '../abi/fuse.js'
import {
  EACCES,
  EINVAL,
  ENOSYS,
  O_ACCMODE,
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from '../abi/linux.js'
import { type Caller, type Entry, type Fh, NO_FH, type NodeId, PARKED } from '../vfs.js'
import { type Context, MALFORMED, NO_REPLY } from './context.js'

/** Flags of open(2) that concern the way to the daemon, not the file behind it: our buffers are not aligned for O_DIRECT. */
const OURS = O_DIRECT | O_CREAT | O_EXCL

/**
 * What the file behind is opened with. Under the writeback cache the kernel fills pages around what is written, so it
 * reads through write-only handles, and it alone knows where the end is.
 */
function flagsFor(x: Context, flags: number): number {
  const f = flags & ~OURS
  if (!x.features.writeback) return f
  return (f & O_ACCMODE) === O_WRONLY ? (f & ~(O_ACCMODE | O_APPEND)) | O_RDWR : f & ~O_APPEND
}

/** Writes fuse_open_out for the handle in `x.opened`, after the entry of a file that is new. */
function answerOpen(x: Context, node: NodeId, flagsAsked: number, entry?: Entry): number {
  const { opened } = x
  const backing = x.backings.open(node, opened.backing, (flagsAsked & O_ACCMODE) === O_RDWR)
  const direct = (flagsAsked & O_DIRECT) !== 0
  if (backing === 0 && opened.preload > 0 && !direct && x.preload.readBy(x.req.caller.pid))
    x.preload.give(node, opened.fh, opened.preload)
  const at = entry === undefined ? 0 : x.reply.entry(entry)
  // Without the writeback cache nothing is pending at close(2), so no FLUSH need be sent.
  let flags = F.FOPEN_NOFLUSH
  if (backing > 0) flags |= F.FOPEN_PASSTHROUGH
  else if (opened.keepCache) flags |= F.FOPEN_KEEP_CACHE
  return at + x.reply.opened(opened.fh, flags, backing, at)
}

function resetOpened(x: Context): void {
  x.opened.backing = -1
  x.opened.keepCache = true
  x.opened.preload = 0
}

/** The open file that a request names, if it names one. */
const fhAt = (x: Context, at: number): Fh => (x.features.noOpen ? NO_FH : x.req.u64(at))

export function open(x: Context): number {
  if (x.features.noOpen) return -ENOSYS
  const { req, opened } = x
  const asked = req.u32(F.OPEN_IN.flags)
  const killPriv = (req.u32(F.OPEN_IN.openFlags) & F.FUSE_OPEN_KILL_SUIDGID) !== 0
  const flags = flagsFor(x, asked)
  if (((asked & O_ACCMODE) !== O_RDONLY || (asked & O_TRUNC) !== 0) && x.around.holds(req.node)) return PARKED
  resetOpened(x)
  let r = x.fs.open(req.caller, req.node, flags, killPriv, opened)
  // A file that its owner may write but not read: the kernel then has to write whole pages.
  if (r === -EACCES && (flags & O_ACCMODE) !== (asked & O_ACCMODE)) {
    r = x.fs.open(req.caller, req.node, (flags & ~O_ACCMODE) | O_WRONLY, killPriv, opened)
  }
  return r < 0 ? r : answerOpen(x, req.node, asked)
}

export function create(x: Context): number {
  const { req, entry } = x
  const name = req.name(F.CREATE_IN.size)
  if (name === undefined) return MALFORMED
  req.caller.umask = req.u32(F.CREATE_IN.umask)
  const flags = flagsFor(x, req.u32(F.CREATE_IN.flags))
  resetOpened(x)
  const mode = req.u32(F.CREATE_IN.mode)
  const r = x.fs.create(req.caller, req.node, name, mode, flags, entry, x.opened)
  return r < 0 ? r : answerOpen(x, entry.node, flags, entry)
}

/** The body ends in a name that means nothing: the file has none. */
export function tmpfile(x: Context): number {
  const { req, entry } = x
  req.caller.umask = req.u32(F.CREATE_IN.umask)
  const flags = flagsFor(x, req.u32(F.CREATE_IN.flags))
  resetOpened(x)
  const r = x.fs.tmpfile(req.caller, req.node, req.u32(F.CREATE_IN.mode), flags, entry, x.opened)
  return r < 0 ? r : answerOpen(x, entry.node, flags, entry)
}

export function read(x: Context): number {
  const { req, reply } = x
  const count = req.u32(F.READ_IN.count)
  if (count > reply.capacity) return MALFORMED
  const fh = fhAt(x, F.READ_IN.fh)
  const pos = req.u64(F.READ_IN.pos)
  x.preload.wasRead(req.caller.pid)
  x.around.read(req, fh, pos, count)
  if (x.splice.answer(req, fh, pos, count)) {
    x.counters.read(count)
    return NO_REPLY
  }
  const n = x.fs.read(req.node, fh, reply.body(count), pos)
  if (n > 0) x.counters.read(n)
  return n
}

export function write(x: Context): number {
  const { req } = x
  const count = req.u32(F.WRITE_IN.count)
  if (F.WRITE_IN.size + count > req.size) return MALFORMED
  const flags = req.u32(F.WRITE_IN.flags)
  const data = req.data(F.WRITE_IN.size, count)
  const outsider = (flags & F.FUSE_WRITE_KILL_SUIDGID) !== 0 ? req.caller : undefined
  const late = (flags & F.FUSE_WRITE_CACHE) !== 0
  const n = x.fs.write(req.node, req.u64(F.WRITE_IN.fh), data, req.u64(F.WRITE_IN.pos), outsider, late)
  if (n < 0) return n
  x.counters.wrote(n)
  x.reply.u32(0, n)
  x.reply.u32(4, 0)
  return 8
}

export function release(x: Context): number {
  const { req } = x
  x.backings.release(req.node)
  x.fs.release(req.node, req.u64(F.FH_IN.fh))
  return 0
}

export const fsync = (x: Context): number =>
  x.fs.fsync(x.req.node, fhAt(x, F.FSYNC_IN.fh), (x.req.u32(F.FSYNC_IN.flags) & F.FUSE_FSYNC_FDATASYNC) !== 0)

/** The kernel tells of no FUSE_WRITE_KILL_SUIDGID with these two: root keeps set-id bits, others do not (CAP_FSETID). */
const outsiderOf = ({ req }: Context): Caller | undefined => (req.caller.uid === 0 ? undefined : req.caller)

export function fallocate(x: Context): number {
  const { req } = x
  return x.fs.fallocate(
    req.node,
    req.u64(F.FALLOCATE_IN.fh),
    req.u32(F.FALLOCATE_IN.mode),
    req.u64(F.FALLOCATE_IN.pos),
    req.u64(F.FALLOCATE_IN.len),
    outsiderOf(x),
  )
}

export function lseek(x: Context): number {
  const { req } = x
  const pos = x.fs.lseek(
    req.node,
    fhAt(x, F.LSEEK_IN.fh),
    req.s64(F.LSEEK_IN.pos),
    req.u32(F.LSEEK_IN.whence),
  )
  if (pos < 0) return pos
  x.reply.u64(0, pos)
  return 8
}

/** The most that one copy_file_range(2) does: what fits the 32 bits of its older reply. */
const MAX_COPY = 0x7ffff000

export function copyFileRange(x: Context): number {
  const { req } = x
  if (req.u64(F.COPY_FILE_RANGE_IN.flags) !== 0) return -EINVAL
  const n = x.fs.copyFileRange(
    req.node,
    req.u64(F.COPY_FILE_RANGE_IN.fh),
    req.u64(F.COPY_FILE_RANGE_IN.pos),
    req.u64(F.COPY_FILE_RANGE_IN.outNode),
    req.u64(F.COPY_FILE_RANGE_IN.outFh),
    req.u64(F.COPY_FILE_RANGE_IN.outPos),
    Math.min(req.u64(F.COPY_FILE_RANGE_IN.len), MAX_COPY),
    outsiderOf(x),
  )
  if (n < 0) return n
  x.preload.copied(req.caller.pid)
  // fuse_write_out, or since 7.45 fuse_copy_file_range_out: 8 bytes either way.
  x.reply.u64(0, n)
  return 8
}
