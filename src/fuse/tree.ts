/** Handlers of requests about names: look up, forget, make, remove, rename, list. */

import * as F from '../abi/fuse.js'
import { ENOENT, ENOSYS, S_IFDIR, S_IFMT } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { type Context, MALFORMED, NO_REPLY } from './context.js'
import type { Wanted } from './walkers.js'

/** Answers with the entry that an operation filled in. */
const entryOr = (x: Context, r: Result): number => (r < 0 ? r : x.reply.entry(x.entry))

export function lookup(x: Context): number {
  const name = x.req.name(0)
  if (name === undefined) return MALFORMED
  const r = x.fs.lookup(x.req.caller, x.req.node, name, x.entry)
  if (r >= 0) {
    if ((x.entry.attr.mode & S_IFMT) !== S_IFDIR) x.walkers.lookedUp(x.req.caller.pid, x.req.node)
    return x.reply.entry(x.entry)
  }
  // The kernel remembers that a name is not there only if told so by an entry.
  return r === -ENOENT && x.reply.caches ? x.reply.noEntry() : r
}

export function forget(x: Context): number {
  x.around.forget(x.req.node, x.req.u64(F.FORGET_IN.count))
  return NO_REPLY
}

export function batchForget(x: Context): number {
  const { around, req } = x
  const count = Math.min(
    req.u32(F.BATCH_FORGET_IN.count),
    Math.floor((req.size - F.BATCH_FORGET_IN.size) / F.BATCH_FORGET_IN.each),
  )
  for (let i = 0, at: number = F.BATCH_FORGET_IN.size; i < count; i++, at += F.BATCH_FORGET_IN.each) {
    around.forget(req.u64(at), req.u64(at + 8))
  }
  return NO_REPLY
}

export function mknod(x: Context): number {
  const { req } = x
  const name = req.name(F.MKNOD_IN.size)
  if (name === undefined) return MALFORMED
  req.caller.umask = req.u32(F.MKNOD_IN.umask)
  const mode = req.u32(F.MKNOD_IN.mode)
  return entryOr(x, x.fs.mknod(req.caller, req.node, name, mode, req.u32(F.MKNOD_IN.rdev), x.entry))
}

export function mkdir(x: Context): number {
  const { req } = x
  const name = req.name(F.MKDIR_IN.size)
  if (name === undefined) return MALFORMED
  req.caller.umask = req.u32(F.MKDIR_IN.umask)
  return entryOr(x, x.fs.mkdir(req.caller, req.node, name, req.u32(F.MKDIR_IN.mode), x.entry))
}

export function symlink(x: Context): number {
  const { req } = x
  const name = req.name(0)
  if (name === undefined) return MALFORMED
  const target = req.text(req.end)
  if (target === undefined) return MALFORMED
  return entryOr(x, x.fs.symlink(req.caller, req.node, name, target, x.entry))
}

export function link(x: Context): number {
  const { req } = x
  const name = req.name(F.LINK_IN.size)
  if (name === undefined) return MALFORMED
  return entryOr(x, x.fs.link(req.caller, req.u64(F.LINK_IN.node), req.node, name, x.entry))
}

export function unlink(x: Context): number {
  const name = x.req.name(0)
  return name === undefined ? MALFORMED : x.fs.unlink(x.req.caller, x.req.node, name)
}

export function rmdir(x: Context): number {
  const name = x.req.name(0)
  return name === undefined ? MALFORMED : x.fs.rmdir(x.req.caller, x.req.node, name)
}

function renameAs(x: Context, namesAt: number, flags: number): number {
  const { req } = x
  const name = req.name(namesAt)
  if (name === undefined) return MALFORMED
  const newName = req.name(req.end)
  if (newName === undefined) return MALFORMED
  return x.fs.rename(req.caller, req.node, name, req.u64(F.RENAME_IN.newDir), newName, flags)
}

export const rename = (x: Context): number => renameAs(x, F.RENAME_IN.size, 0)
export const rename2 = (x: Context): number => renameAs(x, F.RENAME2_IN.size, x.req.u32(F.RENAME2_IN.flags))

/** ENOSYS lets the kernel open directories by itself and cache their listings; handlers of READDIR need no handle. */
export function opendir(x: Context): number {
  if (!x.reply.caches) return x.reply.opened(0, 0, 0)
  if (x.features.noOpendir) return -ENOSYS
  return x.reply.opened(0, F.FOPEN_CACHE_DIR | F.FOPEN_KEEP_CACHE, 0)
}

export const releasedir = (_x: Context): number => 0

function list(x: Context, wanted: Wanted, from: number): number {
  const { req, dirents } = x
  dirents.begin(req.u32(F.READ_IN.count), wanted)
  const r = x.fs.readdir(req.caller, req.node, from, dirents)
  if (dirents.withheld) x.walkers.withheld(req.caller.pid, req.node, from === 0)
  // What is packed counts as looked up: it has to reach the kernel, and the error comes with the next call.
  return r < 0 && dirents.used === 0 ? r : dirents.used
}

export const readdir = (x: Context): number => list(x, 'none', x.req.u64(F.READ_IN.pos))

export function readdirplus(x: Context): number {
  const { caller, node } = x.req
  const from = x.req.u64(F.READ_IN.pos)
  return list(x, x.walkers.wants(caller.pid, node, from === 0), from)
}

export const fsyncdir = (x: Context): number =>
  x.fs.fsyncdir(x.req.node, (x.req.u32(F.FSYNC_IN.flags) & F.FUSE_FSYNC_FDATASYNC) !== 0)
