import * as F from '../abi/fuse.js'
import type { Reply } from './reply.js'
import type { Request } from './request.js'

/** The largest READ and WRITE: 256 pages, the kernel's default limit. */
export const MAX_IO = 1 << 20
const MAX_PAGES = 256
/** Requests that the kernel may have under way unasked-for (readahead, writeback) before it waits. */
const MAX_BACKGROUND = 64

/** What a session would like of the kernel. */
export interface Wishes {
  /** Keep written data in the page cache until flushed. Not together with passthrough. */
  writeback: boolean
  passthrough: boolean
  /** Backing files may lie on an overlayfs. */
  stacked: boolean
  /** Names and attributes stay good until told otherwise: nothing changes the layers but the mount. */
  endless: boolean
  /** Files can be read without having been opened: `Filesystem.readsUnopened`. */
  unopened: boolean
  /** The kernel checks permissions, ACLs among them. */
  permissions: boolean
}

/** What the kernel and the session agreed on. */
export interface Features {
  minor: number
  maxReadahead: number
  writeback: boolean
  passthrough: boolean
  setxattrExt: boolean
  /** OPEN is answered ENOSYS: the kernel then opens files by itself, and READ names none. */
  noOpen: boolean
  /** OPENDIR may be answered ENOSYS: the kernel then opens directories and caches listings by itself. */
  noOpendir: boolean
  /** FUSE_* names, for status and logs. */
  names: string[]
}

const BASIC =
  F.FUSE_ASYNC_READ |
  F.FUSE_BIG_WRITES |
  F.FUSE_DONT_MASK |
  F.FUSE_DO_READDIRPLUS |
  F.FUSE_ASYNC_DIO |
  F.FUSE_PARALLEL_DIROPS |
  F.FUSE_MAX_PAGES |
  F.FUSE_CACHE_SYMLINKS |
  F.FUSE_NO_OPENDIR_SUPPORT |
  F.FUSE_HANDLE_KILLPRIV_V2 |
  F.FUSE_SETXATTR_EXT |
  F.FUSE_INIT_EXT

/**
 * Answers FUSE_INIT.
 *
 * @returns undefined where the kernel speaks another major version: the reply then names ours and the kernel, if it
 *   can, asks again; a string that says what is wrong where the kernel is too old
 */
export function negotiate(req: Request, reply: Reply, wishes: Wishes): Features | string | undefined {
  const major = req.u32(F.INIT_IN.major)
  const minor = req.u32(F.INIT_IN.minor)
  reply.zero(0, F.INIT_OUT.size)
  reply.u32(F.INIT_OUT.major, F.FUSE_KERNEL_VERSION)
  reply.u32(F.INIT_OUT.minor, F.FUSE_KERNEL_MINOR_VERSION)
  if (major > F.FUSE_KERNEL_VERSION) return undefined
  if (major < F.FUSE_KERNEL_VERSION || minor < F.FUSE_OLDEST_MINOR) {
    return `the kernel speaks FUSE protocol ${major}.${minor}; layerfs needs 7.${F.FUSE_OLDEST_MINOR} (Linux 5.4)`
  }

  const offered = req.u32(F.INIT_IN.flags)
  const extended = (offered & F.FUSE_INIT_EXT) !== 0 && req.size >= F.INIT_IN.flags2 + 4
  const offered2 = extended ? req.u32(F.INIT_IN.flags2) : 0
  // Whoever makes a mount without an upper writable by a remount is to hear at once that nothing can be written.
  const noOpen = wishes.unopened && wishes.endless && (offered & F.FUSE_NO_OPEN_SUPPORT) !== 0
  // Passthrough goes by open files, and the writeback cache excludes it: it does more than that where it can be had.
  const passthrough = wishes.passthrough && !noOpen && (offered2 & F.FUSE2_PASSTHROUGH) !== 0
  const flags =
    offered &
    (BASIC |
      (wishes.permissions ? F.FUSE_POSIX_ACL : 0) |
      (wishes.endless ? F.FUSE_EXPLICIT_INVAL_DATA : F.FUSE_AUTO_INVAL_DATA) |
      (noOpen ? F.FUSE_NO_OPEN_SUPPORT : F.FUSE_ATOMIC_O_TRUNC) |
      (wishes.writeback && !passthrough && !noOpen ? F.FUSE_WRITEBACK_CACHE : 0))
  const flags2 = offered2 & (F.FUSE2_DIRECT_IO_ALLOW_MMAP | (passthrough ? F.FUSE2_PASSTHROUGH : 0))

  const maxReadahead = req.u32(F.INIT_IN.maxReadahead)
  reply.u32(F.INIT_OUT.maxReadahead, maxReadahead)
  reply.u32(F.INIT_OUT.flags, flags)
  reply.u16(F.INIT_OUT.maxBackground, MAX_BACKGROUND)
  reply.u16(F.INIT_OUT.congestionThreshold, (MAX_BACKGROUND * 3) / 4)
  reply.u32(F.INIT_OUT.maxWrite, MAX_IO)
  reply.u32(F.INIT_OUT.timeGran, 1)
  reply.u16(F.INIT_OUT.maxPages, MAX_PAGES)
  reply.u32(F.INIT_OUT.flags2, flags2)
  // Depth 1: backing files lie on plain filesystems, and one overlayfs may still be stacked upon this mount. At 2 none may.
  reply.u32(F.INIT_OUT.maxStackDepth, passthrough ? (wishes.stacked ? 2 : 1) : 0)
  return {
    minor: Math.min(minor, F.FUSE_KERNEL_MINOR_VERSION),
    maxReadahead,
    writeback: (flags & F.FUSE_WRITEBACK_CACHE) !== 0,
    passthrough,
    setxattrExt: (flags & F.FUSE_SETXATTR_EXT) !== 0,
    noOpen,
    noOpendir: (flags & F.FUSE_NO_OPENDIR_SUPPORT) !== 0,
    names: [
      ...F.INIT_FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0),
      ...F.INIT_FLAG2_NAMES.filter(([bit]) => (flags2 & bit) !== 0),
    ].map(([, name]) => name),
  }
}
