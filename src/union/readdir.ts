/** readdir: the merged listing, from any cookie on. */

import { DT_DIR, DT_UNKNOWN } from '../abi/linux.js'
import { type DirSink, Entry, type Name, type Result } from '../vfs.js'
import type { Core } from './core.js'
import { type Listing, readListing } from './listing.js'
import type { Loc } from './loc.js'
import { lookup } from './lookup.js'
import type { Dir } from './node.js'
import { originNumber, redirectedNumber } from './origin.js'

const entry = new Entry()

/** `.` and `..` come first: the entry at position n of the listing is the stream's entry n + 2. */
const DOTS = 2

/**
 * A cookie is where a stream goes on, and in the bits above where it ends: at what the listing held when it began, so
 * that names made meanwhile do not keep it from ending (no request tells when a directory is opened). Those of smaller
 * directories fit in 31 bits, for programs that keep no more.
 */
const SMALL = 2 ** 15
const LARGE = 2 ** 26
const NO_END = LARGE - 1

/** After the last entry: more than any other cookie of its span. */
const endOf = (span: number): number => span ** 2 - 1

const spanOf = (cookie: number): number => (cookie < SMALL ** 2 ? SMALL : LARGE)

/** Lists from `cookie` on. A name that cannot be looked up is listed without attributes. */
export function readdir(core: Core, dir: Dir, cookie: number, sink: DirSink): Result {
  if (dir.removed) return 0
  const listing = listingOf(core, dir)
  if (typeof listing === 'number') return listing
  if (cookie === endOf(SMALL) || cookie === endOf(LARGE)) return 0
  const begins = cookie === 0 || isNoOnes(listing, cookie)
  const end = begins ? Math.min(listing.names.length, NO_END) : Math.floor(cookie / spanOf(cookie))
  const span = end + DOTS < SMALL ? SMALL : LARGE
  const from = begins ? 0 : cookie % span
  const base = end * span
  if (from < 1) {
    if (!sink.room('.')) return 0
    sink.add('.', dir.ino, DT_DIR, base + 1, undefined)
  }
  if (from < 2) {
    if (!sink.room('..')) return 0
    sink.add('..', dir.parent?.ino ?? dir.ino, DT_DIR, base + 2, undefined)
  }
  // A listing that was dropped and read anew has its names at other places.
  const last = listing.renewed || end === NO_END ? listing.names.length : Math.min(end, listing.names.length)
  for (let at = Math.max(0, from - DOTS); at < last; at++) {
    const type = listing.types[at] as number
    if (type === DT_UNKNOWN) continue
    const name = listing.names[at] as Name
    if (!sink.room(name)) return 0
    const next = at + 1 === end && !listing.renewed ? endOf(span) : base + at + DOTS + 1
    if (sink.wants(type, isHeld(dir, name)) && lookup(core, dir, name, entry) === 0)
      sink.add(name, entry.attr.ino, type, next, entry)
    else sink.add(name, numberAt(core, dir, listing, at, name), type, next, undefined)
  }
  return 0
}

/** Whether what a name leads to has been looked up, and not been forgotten. */
const isHeld = (dir: Dir, name: Name): boolean => (dir.children?.get(name)?.lookups ?? 0) > 0

/**
 * Whether no stream was given a cookie: it lies beyond its own end. Who seeks to one all the same, as if cookies were
 * offsets, must find entries there.
 */
function isNoOnes(listing: Listing, cookie: number): boolean {
  const span = spanOf(cookie)
  const end = Math.floor(cookie / span)
  return !listing.renewed && end !== NO_END && cookie % span > Math.max(end + 1, DOTS)
}

function listingOf(core: Core, dir: Dir): Listing | Result {
  if (dir.listing !== undefined) {
    core.touchListing(dir)
    return dir.listing
  }
  const listing = readListing(dir.locs)
  if (typeof listing !== 'number') core.keepListing(dir, listing)
  return listing
}

/** The number that lookup would show for an entry. */
function numberAt(core: Core, dir: Dir, listing: Listing, at: number, name: Name): number {
  const known = dir.children?.get(name)
  if (known !== undefined) return known.ino
  const from = listing.from[at] as Loc
  if (listing.types[at] === DT_DIR) {
    const redirected = redirectedNumber(core, dir, from, name)
    if (redirected !== undefined) return redirected
  }
  if (!listing.originDevs.has(at)) {
    const origin = originNumber(core, from, name)
    if (origin !== undefined) return origin
  }
  return core.numbers.shown(listing.devOf(at), listing.inos[at] as number)
}
