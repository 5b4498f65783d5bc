/** Names to nodes: lookup, the attributes of a node, and its end. */

import { DT_DIR, DT_UNKNOWN, ENAMETOOLONG, ENOENT, ESTALE, NAME_MAX, S_IFDIR, S_IFMT } from '../abi/linux.js'
import { stat, statAt } from '../sys/stat.js'
import { Attr, type Entry, type Name, type Result } from '../vfs.js'
import type { Core } from './core.js'
import { openHandles } from './descriptors.js'
import { readIndexed } from './index.js'
import { endLending } from './lent.js'
import { adoptIndexed, joinUpper } from './links.js'
import { type Listing, readListing } from './listing.js'
import type { Loc } from './loc.js'
import { addName, Dir, letGo, Node, removeName } from './node.js'
import { directoryNumber, numberOf } from './origin.js'
import { refine, statIn } from './override.js'
import { Found, resolve, resolveListed } from './resolve.js'

const found = new Found()

/** Finds `name` in a directory and counts the lookup. */
export function lookup(core: Core, parent: Dir, name: Name, out: Entry): Result {
  const known = parent.children?.get(name)
  if (known !== undefined) {
    if (known.lookups === 0) core.idle.delete(known as Dir)
    const r = statNode(core, known, out.attr)
    return r < 0 ? r : remember(known, out)
  }
  if (parent.removed) return -ENOENT
  const r = find(core, parent, name)
  if (r < 0) return r
  const node = adopt(core, parent, name, found)
  if (typeof node === 'number') return node
  out.attr.set(found.attr)
  if (node.home !== found.container) {
    const again = statNode(core, node, out.attr)
    if (again < 0) return again
  } else core.show(node, out.attr)
  return remember(node, out)
}

/** Fills `found`: from the cached listing where it suffices, else from the layers. */
function find(core: Core, parent: Dir, name: Name): Result {
  const listing = parent.listing ?? readSmall(core, parent)
  if (listing !== undefined) {
    const at = listing.find(name)
    if (at < 0) return name.length > NAME_MAX ? -ENAMETOOLONG : -ENOENT
    const type = listing.types[at]
    const from = listing.from[at] as Loc
    if (type !== DT_DIR && type !== DT_UNKNOWN) {
      const fd = from.fd()
      if (fd >= 0 && statAt(fd, name, found.attr) === 0 && (found.attr.mode & S_IFMT) !== S_IFDIR) {
        found.container = from
        return refine(from.layer, fd, name, found.attr)
      }
    }
    const parts = type === DT_DIR ? listing.partsOf(at) : undefined
    if (parts !== undefined && resolveListed(core.stack, parent.locs, parts, name, found) === 0)
      return refine(from.layer, from.fd(), name, found.attr)
  }
  const r = resolve(core.stack, parent.locs, name, found)
  if (r < 0) return r
  const { layer } = found.container as Loc
  return layer.override === undefined ? r : refine(layer, (found.container as Loc).fd(), name, found.attr)
}

/** Entries of a directory that it pays to read for each lookup made in it so far. */
const ENTRIES_A_LOOKUP = 16
/** Where reading too much would cost more than to ask for the size first. */
const MANY_ENTRIES = 256
/** A directory's size on disk tells how many entries it has at least: few take more bytes than this. */
const BYTES_AN_ENTRY = 64

/**
 * Reads a directory in which names are looked up, not listed, once the lookups outweigh its size: from then on each
 * takes one call for a name that is there, however many layers, and none for one that is not.
 */
function readSmall(core: Core, dir: Dir): Listing | undefined {
  const asked = ++dir.asked
  if (asked < 2 || (asked & (asked - 1)) !== 0) return undefined
  // To list such a layer is to ask for an xattr of every file.
  if (dir.locs.some(({ layer }) => layer.override !== undefined)) return undefined
  const limit = asked * ENTRIES_A_LOOKUP
  if (limit >= MANY_ENTRIES && dir.locs.some((loc) => isLarger(loc, limit))) return undefined
  const listing = readListing(dir.locs, undefined, limit)
  if (typeof listing === 'number') return undefined
  core.keepListing(dir, listing)
  return listing
}

const sized = new Attr()

function isLarger(loc: Loc, entries: number): boolean {
  const fd = loc.fd()
  return fd >= 0 && stat(fd, sized) === 0 && sized.size > entries * BYTES_AN_ENTRY
}

/** Makes or finds the node of what `resolve` found. */
function adopt(core: Core, parent: Dir, name: Name, f: Found): Node | Result {
  const container = f.container as Loc
  const attr = f.attr
  if ((attr.mode & S_IFMT) === S_IFDIR) {
    const dir = new Dir(core.table.nextId(), container, f.locs)
    dir.ino = directoryNumber(core, f, name)
    return enter(core, dir, parent, name, container)
  }
  if (attr.nlink > 1) {
    const known = core.table.byLink(attr.dev, attr.ino)
    const raised = known?.inUpper === true && known.indexed === undefined && !container.layer.writable
    if (known !== undefined && raised && !known.orphan) {
      const r = joinUpper(core, known, parent, name)
      return r < 0 ? r : known
    }
    if (known !== undefined && !raised) {
      addName(known, parent, name, container)
      return known
    }
    const copied = container.layer.writable ? undefined : adoptIndexed(core, parent, name, container, attr)
    if (copied !== undefined) return copied
  }
  const node = new Node(core.table.nextId(), attr.mode, container)
  node.ino = numberOf(core, container, name, attr)
  if (attr.nlink > 1) {
    core.table.registerLink(node, attr.dev, attr.ino)
    node.extraLinks = -core.table.hiddenLinks(attr.dev, attr.ino)
    if (container.layer.writable) readIndexed(core, node, container, name, attr)
  }
  return enter(core, node, parent, name, container)
}

/** Puts a new node into the table and under its name. */
export function enter(core: Core, node: Node, parent: Dir, name: Name, container: Loc): Node {
  core.table.put(node)
  addName(node, parent, name, container)
  return node
}

/** The attributes of a node as shown. */
export function statNode(core: Core, node: Node, out: Attr): Result {
  const r = statRaw(node, out)
  if (r < 0) return r
  core.show(node, out)
  if (node.orphan && node.linkKeys === undefined) out.nlink = 0
  return 0
}

/** The attributes of a node as on disk. */
export function statRaw(node: Node, out: Attr): Result {
  if (node instanceof Dir && (node.parent === undefined || node.container.layer.covered !== undefined)) {
    if (!node.removed) return statIn((node.locs[0] as Loc).layer, (node.locs[0] as Loc).fd(), '.', out)
  } else if (!node.adrift) {
    const { home } = node
    const fd = home.fd()
    return fd < 0 ? fd : statIn(home.layer, fd, node.homeName, out)
  }
  const fd = node.lifeline
  if (fd >= 0) return statIn(node.container.layer, fd, '', out)
  if (node.epitaph === undefined) return -ESTALE
  out.set(node.epitaph)
  return 0
}

/** Answers a node with one more lookup. */
export function remember(node: Node, out: Entry): Result {
  node.lookups++
  out.node = node.id
  out.generation = node.generation
  return 0
}

/** How many directories that the kernel has let go of stay known. */
const IDLE_DIRECTORIES = 4096

/** The kernel drops `count` lookups; at none the node ends. */
export function forget(core: Core, node: Node, count: number): void {
  node.lookups = Math.max(0, node.lookups - count)
  if (node.lookups === 0) release(core, node)
}

/** A directory that is still there stays for a while: the kernel often asks for it again, and to find it took work. */
function release(core: Core, node: Node): void {
  if (!(node instanceof Dir) || node.removed) {
    end(core, node)
    return
  }
  if (node.lookups > 0) return
  core.idle.delete(node)
  core.idle.add(node)
  let tries = core.idle.size
  for (const oldest of core.idle) {
    if (core.idle.size <= IDLE_DIRECTORIES || tries-- === 0) return
    core.idle.delete(oldest)
    if ((oldest.children?.size ?? 0) > 0) core.idle.add(oldest)
    else end(core, oldest)
  }
}

function end(core: Core, node: Node): void {
  if (node.lookups > 0 || core.table.get(node.id) !== node) return
  if (node instanceof Dir) {
    if ((node.children?.size ?? 0) > 0) return
    core.idle.delete(node)
    core.dropListing(node)
    for (const loc of node.locs) loc.drop()
  }
  const parents: Dir[] = []
  while (node.parent !== undefined) {
    parents.push(node.parent)
    removeName(node, node.parent, node.name)
  }
  letGo(node)
  endLending(node)
  core.unopened?.drop(node)
  core.table.remove(node)
  for (const parent of parents) if (parent.parent !== undefined || parent.removed) release(core, parent)
}

/** Takes a node, and all that is known beneath it, out of the tree. @returns how many open files it had */
export function detach(core: Core, node: Node): number {
  let orphans = node.handles?.length ?? 0
  if (node instanceof Dir) {
    for (const child of [...(node.children?.values() ?? [])]) orphans += detach(core, child)
    core.dropListing(node)
    for (const loc of node.locs) loc.drop()
    node.removed = true
  }
  openHandles(core, node)
  while (node.parent !== undefined) removeName(node, node.parent, node.name)
  if (node.indexed !== undefined) node.container = node.indexed.loc
  node.indexed = undefined
  core.table.forgetLinks(node)
  return orphans
}
