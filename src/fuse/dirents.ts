import { DIRENT, ENTRY_OUT, OUT_HEADER } from '../abi/fuse.js'
import { DT_DIR, DT_UNKNOWN } from '../abi/linux.js'
import type { DirSink, Entry, Name } from '../vfs.js'
import type { Reply } from './reply.js'
import type { Wanted } from './walkers.js'

const align = (size: number): number => (size + 7) & ~7

/** Packs fuse_dirent or fuse_direntplus records into the body of a reply, padded to 8 bytes each. */
export class Dirents implements DirSink {
  private readonly reply: Reply
  private wanted: Wanted = 'none'
  private limit = 0
  /** A file that the caller may want the attributes of has been given without. */
  withheld = false
  /** Bytes packed so far. */
  used = 0

  constructor(reply: Reply) {
    this.reply = reply
  }

  /** @param wanted `none`: records of fuse_dirent, which have no place for attributes */
  begin(limit: number, wanted: Wanted): void {
    this.wanted = wanted
    this.withheld = false
    this.limit = Math.min(limit, this.reply.capacity)
    this.used = 0
  }

  private get plus(): boolean {
    return this.wanted !== 'none'
  }

  room(name: Name): boolean {
    const fixed = this.plus ? ENTRY_OUT.size + DIRENT.name : DIRENT.name
    return this.used + align(fixed + name.length) <= this.limit
  }

  wants(dtype: number, held: boolean): boolean {
    // Told again what it keeps without end, the kernel would only forget the ACLs that it has of it.
    if (!this.plus || (held && this.reply.endless)) return false
    if (this.wanted === 'all' || dtype === DT_DIR || dtype === DT_UNKNOWN) return true
    if (this.wanted === 'all but one' && this.withheld) return true
    this.withheld = true
    return false
  }

  add(name: Name, ino: number, dtype: number, next: number, entry: Entry | undefined): void {
    const { reply } = this
    let at = this.used
    if (this.plus) {
      if (entry === undefined || entry.node === 0) reply.zero(at, ENTRY_OUT.size)
      else reply.entry(entry, at)
      at += ENTRY_OUT.size
    }
    reply.u64(at + DIRENT.ino, ino)
    reply.u64(at + DIRENT.off, next)
    reply.u32(at + DIRENT.namelen, name.length)
    reply.u32(at + DIRENT.type, dtype)
    at += DIRENT.name
    reply.buffer.write(name, OUT_HEADER + at, name.length, 'latin1')
    const end = at + name.length
    this.used = align(end)
    for (let i = end; i < this.used; i++) reply.buffer[OUT_HEADER + i] = 0
  }
}
