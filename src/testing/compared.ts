/** What a merged tree shows differently from another: src/diff/compare.ts by what every system tells of files. */

import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import type { FixtureChange } from './changes.js'
import { type Entry, list, typeOf } from './merged.js'

export interface PortableChange {
  /** From the root, without a leading slash. */
  path: string
  kind: FixtureChange['kind']
  old?: Entry
  now?: Entry
}

/** How far a time that node:fs has set may be from the one that was asked for: it takes seconds as a double. */
const TIME_NS = 2000n

/**
 * Compares two trees, names in byte order, a directory before what it holds.
 *
 * @param deleted a deleted directory is followed by all that it held
 */
export function* compareTrees(old: Entry, now: Entry, deleted = false): Generator<PortableChange, void> {
  if (modeOf(old) !== modeOf(now)) yield { path: '', kind: 'metadata', old, now }
  yield* compareNames('', old, now, deleted)
}

function* compareNames(
  above: string,
  old: Entry | undefined,
  now: Entry | undefined,
  deleted: boolean,
): Generator<PortableChange, void> {
  const had = old === undefined ? new Map<string, Entry>() : copied(list(old))
  const has = now === undefined ? new Map<string, Entry>() : list(now)
  for (const name of [...new Set([...had.keys(), ...has.keys()])].sort(byBytes)) {
    const path = above === '' ? name : `${above}/${name}`
    const [x, y] = [had.get(name), has.get(name)]
    if (x === undefined && y !== undefined) {
      yield { path, kind: 'added', now: y }
      if (isDir(y)) yield* compareNames(path, undefined, y, deleted)
    } else if (x !== undefined && y === undefined) {
      yield { path, kind: 'deleted', old: x }
      if (deleted && isDir(x)) yield* compareNames(path, x, undefined, deleted)
    } else if (x !== undefined && y !== undefined) yield* compareBoth(path, x, y, deleted)
  }
}

function* compareBoth(
  path: string,
  old: Entry,
  now: Entry,
  deleted: boolean,
): Generator<PortableChange, void> {
  if (isDir(old) && isDir(now)) {
    const below = compareNames(path, old, now, deleted)
    const first = below.next()
    if (modeOf(old) !== modeOf(now)) yield { path, kind: 'metadata', old, now }
    else if (first.done !== true) yield { path, kind: 'contents', old, now }
    if (first.done === true) return
    yield first.value
    yield* below
    return
  }
  const kind = kindOf(old, now)
  if (kind !== undefined) yield { path, kind, old, now }
  if (isDir(now)) yield* compareNames(path, undefined, now, deleted)
}

/** What differs of two files, if anything. */
function kindOf(old: Entry, now: Entry): FixtureChange['kind'] | undefined {
  const type = typeOf(now)
  if (typeOf(old) !== type) return 'type'
  if (type === 'symlink' ? readlinkSync(old.path) !== readlinkSync(now.path) : !sameContent(old, now))
    return 'modified'
  const apart = old.stats.mtimeNs - now.stats.mtimeNs
  const times = apart > TIME_NS || apart < -TIME_NS
  // Some systems give symlinks a mode, which nobody looks at.
  return times || (type !== 'symlink' && modeOf(old) !== modeOf(now)) ? 'metadata' : undefined
}

const CHUNK = 256 * 1024
const buffers = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)] as const

function sameContent(old: Entry, now: Entry): boolean {
  if (old.stats.size !== now.stats.size) return false
  const fds = [openSync(old.path, 'r')]
  try {
    fds.push(openSync(now.path, 'r'))
    for (let left = Number(now.stats.size); left > 0; ) {
      const [n, m] = [readSync(fds[0] as number, buffers[0]), readSync(fds[1] as number, buffers[1])]
      if (n !== m || buffers[0].compare(buffers[1], 0, n, 0, n) !== 0) return false
      if (n === 0) break
      left -= n
    }
    return true
  } finally {
    for (const fd of fds) closeSync(fd)
  }
}

/** Of a fixture directory: special files are left out of the copy. */
const copied = (names: Map<string, Entry>): Map<string, Entry> =>
  new Map([...names].filter(([, entry]) => typeOf(entry) !== 'special'))

const isDir = (entry: Entry): boolean => typeOf(entry) === 'directory'

const modeOf = ({ stats }: Entry): bigint => stats.mode & 0o7777n

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
