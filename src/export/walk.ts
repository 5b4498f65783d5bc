/** The merged tree of a stack, directory by directory, without a mount: what export, verify, manifest, diff and squash read. */

import { DT_DIR, EACCES, ENOENT, ENOTDIR, EPERM } from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import { textOf } from '../sys/libc.js'
import { type Listing, readListing } from '../union/listing.js'
import type { Loc } from '../union/loc.js'
import { Found, resolve } from '../union/resolve.js'
import type { Name, Result } from '../vfs.js'
import type { Source } from './source.js'

/** A directory of the merged tree. */
export interface MergedDir {
  /** Path from the root, without a leading slash; empty for the root. */
  readonly path: Name
  readonly name: Name
  /** Where its contents come from, topmost first; the first gives its metadata. */
  readonly locs: readonly Loc[]
  readonly listing: Listing
  /** Names that something in it hides in the layers beneath, whether or not it shows something by that name itself. */
  readonly hidden: ReadonlySet<Name>
}

/** A directory is entered before, and left after, all that it holds. */
export interface Step {
  readonly kind: 'enter' | 'leave'
  readonly dir: MergedDir
}

/** The path of an entry. */
export const within = (dir: Pick<MergedDir, 'path'>, name: Name): Name =>
  dir.path.length === 0 ? name : `${dir.path}/${name}`

/** A path as people read it: `/etc/motd`, bytes that are no UTF-8 replaced. */
export const shown = (path: Name): string => `/${textOf(path)}`

/** @throws LayerfsError ACCESS_DENIED or IO that names the path, where `r` is an errno */
export function check(r: Result, verb: string, path: Name): Result {
  if (r >= 0) return r
  const code = r === -EACCES || r === -EPERM ? 'ACCESS_DENIED' : 'IO'
  throw new LayerfsError(code, `cannot ${verb} ${shown(path)}: ${errnoText(r)}`, {
    errno: -r,
    path: shown(path),
  })
}

/** For what was there when its directory was read, and is something else now. */
export const changed = (path: Name): LayerfsError =>
  new LayerfsError('IO', `${shown(path)} was changed while it was read: let nothing write to the layers`, {
    path: shown(path),
  })

/** @throws LayerfsError as check */
export function enter(locs: readonly Loc[], path: Name, name: Name): MergedDir {
  const hidden = new Set<Name>()
  const listing = readListing(locs, hidden)
  if (typeof listing === 'number') throw check(listing, 'list', path)
  return { path, name, locs, listing, hidden }
}

const found = new Found()

/**
 * The directories that merge under a name that a listing gave as a directory.
 *
 * @throws LayerfsError where it is none any more
 */
export function descend(source: Source, locs: readonly Loc[], name: Name, path: Name): readonly Loc[] {
  const r = resolve(source.stack, locs, name, found)
  if (r === -ENOENT || r === -ENOTDIR || (r === 0 && found.locs.length === 0)) throw changed(path)
  check(r, 'look up', path)
  return found.locs
}

interface Frame {
  dir: MergedDir
  /** Position in its listing from which to look for the next directory. */
  at: number
}

/**
 * Walks the tree depth first. What is held at a time are the listings on the way from the root, not the tree.
 *
 * @throws LayerfsError that names the path
 */
export function* walk(source: Source): Generator<Step, void, undefined> {
  const root = enter(source.roots, '', '')
  const frames: Frame[] = [{ dir: root, at: 0 }]
  yield { kind: 'enter', dir: root }
  for (;;) {
    const frame = frames.at(-1)
    if (frame === undefined) return
    const { dir } = frame
    const { types, names } = dir.listing
    while (frame.at < types.length && types[frame.at] !== DT_DIR) frame.at++
    if (frame.at < types.length) {
      const name = names[frame.at++] as Name
      const path = within(dir, name)
      const child = enter(descend(source, dir.locs, name, path), path, name)
      frames.push({ dir: child, at: 0 })
      yield { kind: 'enter', dir: child }
      continue
    }
    yield { kind: 'leave', dir }
    frames.pop()
    if (frames.length > 0) for (const loc of dir.locs) loc.drop()
  }
}

/** How long the work goes on before others get a turn, signals among them. Milliseconds. */
const TURN_MS = 40

/**
 * Drives a computation that yields now and then, so that a signal can end it and progress be shown.
 *
 * @throws the signal's reason once it is aborted
 */
export async function drive<T>(
  steps: Generator<unknown, T, undefined>,
  signal?: AbortSignal,
  tick?: () => void,
): Promise<T> {
  signal?.throwIfAborted()
  let since = performance.now()
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (performance.now() - since < TURN_MS) continue
    await new Promise((resume) => setImmediate(resume))
    // Within the computation, so that it cleans up.
    if (signal?.aborted === true) steps.throw(signal.reason)
    tick?.()
    since = performance.now()
  }
}
