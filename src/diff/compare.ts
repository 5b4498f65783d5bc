/** What one stack shows differently from another. Where both take a directory from the same layers nothing is looked at. */

import { DT_DIR, DT_UNKNOWN } from '../abi/linux.js'
import { type Facts, factsOf, type Hash, hashOf, xattrsOf } from '../export/facts.js'
import { openContent } from '../export/place.js'
import type { Source } from '../export/source.js'
import { check, descend, enter, type MergedDir, within } from '../export/walk.js'
import type { Loc } from '../union/loc.js'
import { statIn } from '../union/override.js'
import { readMarks } from '../union/whiteout.js'
import { Attr, type Name } from '../vfs.js'

/**
 * `type`: another kind of file. `metadata`: mode, owner, times or xattrs only. `same`: another layer provides it, but
 * nothing differs. `contents`: a directory that only holds changes.
 */
export type Kind = 'added' | 'modified' | 'deleted' | 'type' | 'metadata' | 'same' | 'contents'

/** A file of one side. */
export interface Entry {
  /** The directory that holds it, in the layer that provides it; of the root: itself. */
  loc: Loc
  /** `.` for the root. */
  name: Name
  /** The directories that merge where it is seen. */
  parents: readonly Loc[]
}

export interface Change {
  /** Path from the root, without a leading slash. */
  path: Name
  kind: Kind
  old?: Entry
  now?: Entry
  /** A directory of the new side that hides all that the old one has in it. */
  opaque?: true
}

export interface CompareOptions {
  /** A deleted directory is followed by all that it held. */
  deleted?: boolean
  /** A directory marked opaque is followed by all that it holds, as added, and by nothing it hides. */
  opaque?: boolean
}

/** A directory that is told of once something in it is. */
interface Pending {
  above: Pending | undefined
  change: Change
  told: boolean
}

/** Compares two stacks, directory by directory, names in byte order, a directory before what it holds. */
export function* compare(
  old: Source,
  now: Source,
  hash: Hash,
  options: CompareOptions = {},
): Generator<Change, void> {
  const comparison = new Comparison(old, now, hash, options)
  yield* comparison.roots()
}

const a = new Attr()
const b = new Attr()

class Comparison {
  constructor(
    private readonly old: Source,
    private readonly now: Source,
    private readonly hash: Hash,
    private readonly options: CompareOptions,
  ) {}

  *roots(): Generator<Change, void> {
    const root: Pending = { above: undefined, change: { path: '', kind: 'contents' }, told: true }
    if (sameLocs(this.old.roots, this.now.roots)) return
    const entry = (roots: readonly Loc[]): Entry => ({ loc: roots[0] as Loc, name: '.', parents: roots })
    const [x, y] = [entry(this.old.roots), entry(this.now.roots)]
    if (this.dirDiffers('', x, y)) yield { path: '', kind: 'metadata', old: x, now: y }
    yield* this.dirs(root, enter(this.old.roots, '', ''), enter(this.now.roots, '', ''))
  }

  /** Compares the contents of two directories, either of which may not be there. */
  private *dirs(
    pending: Pending,
    old: MergedDir | undefined,
    now: MergedDir | undefined,
  ): Generator<Change, void> {
    const names = new Set([...shownNames(old), ...shownNames(now)])
    for (const name of [...names].sort()) {
      const x = entryOf(old, name)
      const y = entryOf(now, name)
      const path = within((now ?? old) as MergedDir, name)
      if (y === undefined) {
        yield* tell(pending, { path, kind: 'deleted', old: x as Entry })
        if (this.options.deleted === true) yield* this.below(pending, path, name, old, undefined)
      } else if (x === undefined) {
        yield* tell(pending, { path, kind: 'added', now: y })
        yield* this.below(pending, path, name, undefined, now)
      } else yield* this.both(pending, path, name, old as MergedDir, now as MergedDir, x, y)
    }
  }

  /** All that an added or deleted directory holds. */
  private *below(
    pending: Pending,
    path: Name,
    name: Name,
    old: MergedDir | undefined,
    now: MergedDir | undefined,
  ): Generator<Change, void> {
    const [dir, source] = old === undefined ? [now, this.now] : [old, this.old]
    if (dir === undefined || !isDir(dir, name)) return
    const child = enter(descend(source, dir.locs, name, path), path, name)
    yield* old === undefined ? this.dirs(pending, undefined, child) : this.dirs(pending, child, undefined)
    for (const loc of child.locs) loc.drop()
  }

  private *both(
    pending: Pending,
    path: Name,
    name: Name,
    old: MergedDir,
    now: MergedDir,
    x: Entry,
    y: Entry,
  ): Generator<Change, void> {
    const [wasDir, isNow] = [isDir(old, name), isDir(now, name)]
    if (wasDir && isNow) {
      yield* this.bothDirs(pending, path, name, old, now, x, y)
      return
    }
    if (wasDir !== isNow) {
      yield* tell(pending, { path, kind: 'type', old: x, now: y })
      if (isNow) yield* this.below(pending, path, name, undefined, now)
      return
    }
    if (sameLoc(x.loc, y.loc)) return
    const kind = this.fileKind(path, x, y)
    const change: Change = { path, kind, old: x, now: y }
    if (kind === 'same') yield change
    else yield* tell(pending, change)
  }

  private *bothDirs(
    above: Pending,
    path: Name,
    name: Name,
    old: MergedDir,
    now: MergedDir,
    x: Entry,
    y: Entry,
  ): Generator<Change, void> {
    const oldLocs = descend(this.old, old.locs, name, path)
    const nowLocs = descend(this.now, now.locs, name, path)
    if (sameLocs(oldLocs, nowLocs)) return
    const opaque = this.options.opaque === true && hidesAll(nowLocs, oldLocs, path)
    const kind = this.dirDiffers(path, x, y) ? 'metadata' : 'contents'
    const change: Change = { path, kind, old: x, now: y, ...(opaque ? { opaque } : {}) }
    const pending: Pending = { above, change, told: false }
    if (kind === 'metadata' || opaque) yield* tellDir(pending)
    yield* this.dirs(pending, opaque ? undefined : enter(oldLocs, path, name), enter(nowLocs, path, name))
    for (const loc of [...oldLocs, ...nowLocs]) loc.drop()
  }

  /** Whether mode, owner or xattrs of a directory differ. Its times follow from what happens in it. */
  private dirDiffers(path: Name, x: Entry, y: Entry): boolean {
    const [p, q] = [this.look(path, x, a), this.look(path, y, b)]
    return p.mode !== q.mode || p.uid !== q.uid || p.gid !== q.gid || xattrsDiffer(path, x, y)
  }

  private fileKind(path: Name, x: Entry, y: Entry): Kind {
    const [p, q] = [this.look(path, x, a), this.look(path, y, b)]
    if (p.type !== q.type) return 'type'
    if (p.size !== q.size || p.target !== q.target || p.device !== q.device) return 'modified'
    const times = a.mtime !== b.mtime || a.mtimeNs !== b.mtimeNs
    const same = a.dev === b.dev && a.ino === b.ino
    if (p.type === 'file' && !same && (p.size ?? 0) > 0) {
      const before = hashOf(this.hash, openContent(this.old.stack, x.parents, x.loc, x.name), path)
      const after = hashOf(this.hash, openContent(this.now.stack, y.parents, y.loc, y.name), path)
      if (before !== after) return 'modified'
    }
    const differs = times || p.mode !== q.mode || p.uid !== q.uid || p.gid !== q.gid
    return differs || xattrsDiffer(path, x, y) ? 'metadata' : 'same'
  }

  private look(path: Name, { loc, name }: Entry, attr: Attr): Facts {
    const fd = check(loc.fd(), 'open', path)
    check(statIn(loc.layer, fd, name, attr), 'look at', path)
    return factsOf(attr, loc.layer, fd, name, path)
  }
}

function* tell(above: Pending, change: Change): Generator<Change, void> {
  yield* tellDir(above)
  yield change
}

/** Tells of a directory, those above it first. */
function* tellDir(pending: Pending): Generator<Change, void> {
  const untold: Pending[] = []
  for (let at: Pending | undefined = pending; at !== undefined && !at.told; at = at.above) untold.push(at)
  for (const each of untold.reverse()) {
    each.told = true
    yield each.change
  }
}

function* shownNames(dir: MergedDir | undefined): Generator<Name, void> {
  if (dir === undefined) return
  for (const [at, type] of dir.listing.types.entries())
    if (type !== DT_UNKNOWN) yield dir.listing.names[at] as Name
}

function entryOf(dir: MergedDir | undefined, name: Name): Entry | undefined {
  const at = dir?.listing.find(name) ?? -1
  if (dir === undefined || at < 0) return undefined
  return { loc: dir.listing.from[at] as Loc, name, parents: dir.locs }
}

const isDir = (dir: MergedDir, name: Name): boolean => dir.listing.types[dir.listing.find(name)] === DT_DIR

const sameLoc = (x: Loc, y: Loc): boolean =>
  x === y || (x.layer === y.layer && x.name === y.name && x.path() === y.path())

const sameLocs = (x: readonly Loc[], y: readonly Loc[]): boolean =>
  x.length === y.length && x.every((loc, i) => sameLoc(loc, y[i] as Loc))

function hidesAll(now: readonly Loc[], old: readonly Loc[], path: Name): boolean {
  if (now.some((loc) => old.some((other) => sameLoc(loc, other)))) return false
  return check(readMarks(now.at(-1) as Loc), 'read the marks of', path) === 1
}

function xattrsDiffer(path: Name, x: Entry, y: Entry): boolean {
  const read = ({ loc, name }: Entry): string[] =>
    xattrsOf(loc.layer, check(loc.fd(), 'open', path), name, path)
  return read(x).join() !== read(y).join()
}
