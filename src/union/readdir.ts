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

/** `.` and `..` come first; the entry at position n of the listing has the cookie n + 3. */
const DOTS = 2

/** Lists from `cookie` on. A name that cannot be looked up in a `plus` listing is listed without attributes. */
export function readdir(core: Core, dir: Dir, cookie: number, plus: boolean, sink: DirSink): Result {
  if (dir.removed) return 0
  const listing = listingOf(core, dir)
  if (typeof listing === 'number') return listing
  if (cookie < 1) {
    if (!sink.room('.')) return 0
    sink.add('.', dir.ino, DT_DIR, 1, undefined)
  }
  if (cookie < 2) {
    if (!sink.room('..')) return 0
    sink.add('..', dir.parent?.ino ?? dir.ino, DT_DIR, 2, undefined)
  }
  for (let at = Math.max(0, cookie - DOTS); at < listing.names.length; at++) {
    const type = listing.types[at] as number
    if (type === DT_UNKNOWN) continue
    const name = listing.names[at] as Name
    if (!sink.room(name)) return 0
    const next = at + DOTS + 1
    if (plus && lookup(core, dir, name, entry) === 0) sink.add(name, entry.attr.ino, type, next, entry)
    else sink.add(name, numberAt(core, dir, listing, at, name), type, next, undefined)
  }
  return 0
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
