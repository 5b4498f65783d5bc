/** The merged contents of a directory, in an order that stays while names come and go. */

import {
  DT_CHR,
  DT_DIR,
  DT_REG,
  DT_UNKNOWN,
  dtOfMode,
  ELOOP,
  ENOENT,
  ENOTDIR,
  EOVERFLOW,
  EPERM,
  O_DIRECTORY,
  O_NOATIME,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
  SEEK_SET,
} from '../abi/linux.js'
import { OCI_OPAQUE, OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { close, lseek, open } from '../sys/file.js'
import { listDir } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Loc } from './loc.js'
import { statIn } from './override.js'
import { isWhiteout, readMarks, readXattrMarks } from './whiteout.js'

/** Bytes an entry takes, its name apart: array slots and the index. */
const ENTRY_BYTES = 88
/** What a directory takes that merges with an entry. */
const MERGED_BYTES = 24

export class Listing {
  readonly names: Name[] = []
  /** Inode numbers on disk. Of a directory that the upper merges with a lower one: the topmost lower one's. */
  readonly inos: number[] = []
  /** d_type; DT_UNKNOWN marks an entry that is gone. */
  readonly types: number[] = []
  /** The directory that provides the entry. */
  readonly from: Loc[] = []
  /** Devices of the numbers that are of another file than `from` holds: of an origin, or a merged directory's lower part. */
  readonly originDevs = new Map<number, number>()
  /** The directories of lower layers that merge with the one that provides an entry, topmost first. */
  private readonly beneath = new Map<number, Loc[]>()
  /** Positions of all names ever here: one that comes back takes its old place, so a reader is not led in a circle. */
  private readonly index = new Map<Name, number>()
  /** How many entries there are. */
  count = 0
  /** The directory had a listing before this one. */
  renewed = false
  bytes = 512

  /** Position of a name, or -1. */
  find(name: Name): number {
    const at = this.index.get(name)
    return at === undefined || this.types[at] === DT_UNKNOWN ? -1 : at
  }

  add(name: Name, ino: number, dtype: number, from: Loc): void {
    const at = this.index.get(name)
    if (at !== undefined) {
      if (this.types[at] === DT_UNKNOWN) this.count++
      this.inos[at] = ino
      this.types[at] = dtype
      this.from[at] = from
      this.originDevs.delete(at)
      this.beneath.delete(at)
      return
    }
    this.index.set(name, this.names.push(name) - 1)
    this.count++
    this.inos.push(ino)
    this.types.push(dtype)
    this.from.push(from)
    this.bytes += ENTRY_BYTES + name.length
  }

  /** `loc` holds a directory that merges with the entry. */
  merge(at: number, loc: Loc): void {
    const merged = this.beneath.get(at)
    if (merged === undefined) this.beneath.set(at, [loc])
    else merged.push(loc)
    this.bytes += MERGED_BYTES
  }

  /** Which directories hold a part of the directory at `at`, topmost first; undefined where the upper has one. */
  partsOf(at: number): readonly Loc[] | undefined {
    const from = this.from[at] as Loc
    if (from.layer.writable) return undefined
    const merged = this.beneath.get(at)
    return merged === undefined ? [from] : [from, ...merged]
  }

  /** The entry was copied up: it is now found in the upper and keeps its number. */
  copiedUp(name: Name, upper: Loc): void {
    const at = this.find(name)
    if (at < 0) return
    const from = this.from[at] as Loc
    if (!this.originDevs.has(at)) this.originDevs.set(at, from.layer.dev)
    this.from[at] = upper
  }

  /** Device of an entry's inode number. */
  devOf(at: number): number {
    return this.originDevs.get(at) ?? (this.from[at] as Loc).layer.dev
  }

  remove(name: Name): void {
    const at = this.find(name)
    if (at < 0) return
    this.count--
    this.types[at] = DT_UNKNOWN
  }
}

const scratch = new Attr()

/**
 * Reads and merges a stack of directories, topmost first.
 *
 * @param hidden filled with the names that something hides in the layers beneath: whiteouts, and files over files
 * @param limit how many entries to read at most
 * @returns the listing; -EOVERFLOW where there are more; -errno of a directory that could not be read
 */
export function readListing(
  locs: readonly Loc[],
  hidden = new Set<Name>(),
  limit = Number.POSITIVE_INFINITY,
): Listing | Result {
  const listing = new Listing()
  for (const loc of locs) {
    const r = readInto(listing, hidden, loc, limit)
    if (r < 0 && r !== -ENOENT && r !== -ENOTDIR && r !== -ELOOP) return r
  }
  return listing
}

function readInto(listing: Listing, hidden: Set<Name>, loc: Loc, limit: number): Result {
  const path = loc.fd()
  if (path < 0) return path
  if (loc.xwhiteouts === undefined) {
    const marks = readXattrMarks(loc)
    if (marks < 0) return marks
  }
  const fd = loc.readable ? path : openQuietly(path)
  if (fd < 0) return fd
  if (fd === path) rewind(loc, fd)
  const hides: Name[] = []
  let marked = false
  let whiteouts = false
  let tooMany = false
  const take = (name: Name, ino: number, dtype: number): boolean => {
    if (listing.count + hidden.size >= limit) {
      tooMany = true
      return false
    }
    if (loc.layer.ociWhiteouts && name.startsWith(OCI_WHITEOUT_PREFIX)) {
      marked = true
      if (name !== OCI_OPAQUE) hides.push(name.slice(OCI_WHITEOUT_PREFIX.length))
      return true
    }
    if (hidden.has(name)) return true
    const seen = listing.find(name)
    if (seen >= 0) {
      if (!isDirectory(path, name, dtype)) hidden.add(name)
      else if (listing.types[seen] === DT_DIR) {
        mergeNumber(listing, seen, ino, loc)
        listing.merge(seen, loc)
      }
      return true
    }
    let type = dtype
    if (type === DT_UNKNOWN || type === DT_CHR || (type === DT_REG && loc.xwhiteouts === true)) {
      if (statAt(path, name, scratch) < 0) return true
      if (isWhiteout(loc, name, scratch)) {
        whiteouts = true
        hidden.add(name)
        return true
      }
      type = dtOfMode(scratch.mode)
    }
    if (type === DT_REG && loc.layer.override !== undefined) {
      if (statIn(loc.layer, path, name, scratch) < 0) return true
      type = dtOfMode(scratch.mode)
    }
    listing.add(name, ino, type, loc)
    return true
  }
  const r = listDir(fd, take, limit)
  if (fd !== path) close(fd)
  if (tooMany) return -EOVERFLOW
  if (r < 0) return r
  loc.ociMarks = marked
  loc.whiteouts = marked || whiteouts
  for (const name of hides) hidden.add(name)
  return 0
}

/** A directory is listed from its beginning, and with what was made since it was opened. */
function rewind(loc: Loc, fd: number): void {
  if (loc.moved || loc.layer.writable) lseek(fd, 0, SEEK_SET)
  loc.moved = true
}

const isDirectory = (dirfd: number, name: Name, dtype: number): boolean =>
  dtype === DT_DIR ||
  (dtype === DT_UNKNOWN && statAt(dirfd, name, scratch) === 0 && (scratch.mode & S_IFMT) === S_IFDIR)

/** Opens a directory to list it, leaving its access time alone where that is permitted. */
function openQuietly(path: number): Result {
  const fd = open(path, '.', O_RDONLY | O_DIRECTORY | O_NOATIME)
  return fd === -EPERM ? open(path, '.', O_RDONLY | O_DIRECTORY) : fd
}

/** A directory of the upper that has a lower part shows the topmost lower one's number, as lookup does. */
function mergeNumber(listing: Listing, at: number, ino: number, loc: Loc): void {
  const top = listing.from[at] as Loc
  if (!top.layer.writable || listing.types[at] !== DT_DIR || listing.originDevs.has(at)) return
  // What is opened here must not push the descriptor that is being listed out of the cache.
  loc.fd()
  if (readMarks(top.child(listing.names[at] as Name)) !== 0) return
  listing.inos[at] = ino
  listing.originDevs.set(at, loc.layer.dev)
}
