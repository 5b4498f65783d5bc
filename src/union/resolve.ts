/** The first verb: look a name up through the stack. */

import { ENAMETOOLONG, ENOENT, S_IFDIR, S_IFMT } from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import { statAt } from '../sys/stat.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Layer } from './layer.js'
import { isAbsent, type Loc } from './loc.js'
import { readRedirect, redirectedPath, walkRedirect } from './redirect.js'
import { hasOciWhiteout, isOciMark, isOciOpaque, isWhiteout, readMarks, readXattrMarks } from './whiteout.js'

/** The layers of a mount, topmost first. */
export interface Stack {
  readonly layers: readonly Layer[]
  /** `layers[0]` where the mount is writable. */
  readonly upper: Layer | undefined
  readonly followRedirects: boolean
}

/** What stands at a name in the upper that hides the layers below without being a file. */
export type UpperWhiteout = 'none' | 'object' | 'oci'

/** What `resolve` found. Reused by its caller from call to call. */
export class Found {
  /** Attributes as on disk of what the name shows. */
  readonly attr = new Attr()
  /** Directory that holds it, in the layer that provides it. */
  container: Loc | undefined
  /** For a directory: where its contents come from, topmost first. */
  locs: Loc[] = []
  /** For a directory in the upper merged with lower ones: device and number of the topmost lower one. */
  originDev = -1
  originIno = -1
  upperWhiteout: UpperWhiteout = 'none'

  clear(): void {
    this.container = undefined
    this.locs = []
    this.originDev = -1
    this.upperWhiteout = 'none'
  }
}

/** The roots that merge: an opaque one ends the stack. @throws LayerfsError IO where its marks cannot be read */
export function rootLocs(layers: readonly Layer[]): Loc[] {
  const locs: Loc[] = []
  for (const { root, path } of layers) {
    locs.push(root)
    const marks = readMarks(root)
    if (marks < 0)
      throw new LayerfsError('IO', `cannot read the marks of ${path}: ${errnoText(marks)}`, {
        errno: -marks,
        path,
      })
    if (marks === 1) break
  }
  return locs
}

const below = new Attr()

/**
 * Finds what `name` shows in a directory that is the merge of `locs`.
 *
 * @returns 0; -ENOENT where no layer has it or a whiteout hides it; -errno of the layer
 */
export function resolve(stack: Stack, locs: readonly Loc[], name: Name, out: Found): Result {
  const at = findTop(locs, name, out, 0)
  if (at < 0) return at
  return (out.attr.mode & S_IFMT) === S_IFDIR ? merge(stack, locs.slice(at), name, out) : 0
}

/**
 * Finds the topmost of `locs` that has `name`, from the one at `from` on, and what it has there.
 *
 * @returns its position, or as resolve
 */
export function findTop(locs: readonly Loc[], name: Name, out: Found, from: number): Result {
  out.clear()
  for (let i = from; i < locs.length; i++) {
    const loc = locs[i] as Loc
    const fd = loc.fd()
    if (fd < 0) {
      if (isAbsent(fd)) continue
      return fd
    }
    const r = isOciMark(loc, name) ? -ENOENT : statAt(fd, name, out.attr)
    if (r < 0) {
      if (!isAbsent(r)) return r
      if (hasOciWhiteout(loc, name)) {
        if (loc.layer.writable) out.upperWhiteout = 'oci'
        return -ENOENT
      }
      continue
    }
    if (isWhiteout(loc, name, out.attr)) {
      if (loc.layer.writable) out.upperWhiteout = 'object'
      return -ENOENT
    }
    out.container = loc
    return i
  }
  return -ENOENT
}

/**
 * As `resolve`, of a directory that a listing has located in the lower layers: one call for its attributes, none to
 * find what it merges with.
 *
 * @param parts the directories that hold one of this name, topmost first; @param locs all that merge in the parent
 * @returns -ENOENT where the topmost is no directory any more
 */
export function resolveListed(
  stack: Stack,
  locs: readonly Loc[],
  parts: readonly Loc[],
  name: Name,
  out: Found,
): Result {
  const top = parts[0] as Loc
  out.clear()
  out.container = top
  const fd = top.fd()
  const r = fd < 0 ? fd : statAt(fd, name, out.attr)
  if (r < 0) return r
  return (out.attr.mode & S_IFMT) === S_IFDIR ? merge(stack, parts, name, out, locs) : -ENOENT
}

/**
 * Collects the directories that merge with the one found in `places[0]`, until something ends the merge.
 *
 * @param places where to look for the others, topmost first
 * @param all undefined, or `places` are those that hold one of this name, and these are all that merge in the parent
 */
function merge(stack: Stack, places: readonly Loc[], name: Name, out: Found, all?: readonly Loc[]): Result {
  let here = places[0] as Loc
  let rest: readonly Loc[] = places.slice(1)
  let located = all !== undefined
  const top = here.child(name)
  out.locs.push(top)
  let dir = top
  let looked = name
  let path: Name | undefined
  for (;;) {
    const follows = stack.followRedirects && hasLayersBelow(stack, dir.layer)
    const last = rest.length === 0 && path === undefined
    if (last && !follows) return 0
    const opaque = readXattrMarks(dir)
    if (opaque !== 0) return Math.min(opaque, 0)
    const redirect = follows && dir.redirects ? readRedirect(here, looked) : undefined
    if (typeof redirect === 'number') return redirect
    if (last && redirect === undefined) return 0
    if (isOciOpaque(dir) || hasOciWhiteout(here, looked)) return 0
    if (redirect !== undefined) {
      if (path !== undefined || redirect.startsWith('/')) path = redirectedPath(path ?? '', redirect)
      else looked = redirect
      if (all !== undefined) rest = all.slice(all.indexOf(here) + 1)
      located = false
    }
    const next =
      path !== undefined
        ? nextByPath(stack, dir.layer, path)
        : located
          ? { loc: rest[0] as Loc, name: looked, path }
          : nextDirectory(rest, looked)
    if (next === undefined) return 0
    if (typeof next === 'number') return next
    here = next.loc
    looked = next.name
    path = next.path
    rest = path === undefined ? rest.slice(rest.indexOf(here) + 1) : []
    dir = here.child(looked)
    if (out.locs.length === 1 && top.layer.writable) {
      out.originDev = below.dev
      out.originIno = below.ino
    }
    out.locs.push(dir)
  }
}

const hasLayersBelow = (stack: Stack, layer: Layer): boolean => stack.layers.at(-1) !== layer

interface Place {
  loc: Loc
  name: Name
  /** Where it was found by path: the path of its lower part. */
  path: Name | undefined
}

/** The next directory by this name; undefined where there is none or something else ends the merge; -errno. Fills `below`. */
function nextDirectory(locs: readonly Loc[], name: Name): Place | Result | undefined {
  for (const loc of locs) {
    const found = directoryAt(loc, name)
    if (found === MERGES) return { loc, name, path: undefined }
    if (found !== LACKS) return found === ENDS ? undefined : found
  }
  return undefined
}

/** The same by a path from the root of each layer below `layer`. */
function nextByPath(stack: Stack, layer: Layer, path: Name): Place | Result | undefined {
  let known = path
  for (const candidate of stack.layers.slice(stack.layers.indexOf(layer) + 1)) {
    const walked = walkRedirect(candidate, known)
    if (typeof walked === 'number') return walked
    known = walked.path
    if (walked.loc !== undefined) {
      const found = directoryAt(walked.loc, walked.name)
      if (found === MERGES) return { loc: walked.loc, name: walked.name, path: known }
      if (found !== LACKS) return found === ENDS ? undefined : found
    }
    if (walked.stop) return undefined
  }
  return undefined
}

const LACKS = 0
const MERGES = 1
const ENDS = 2

/** Whether a directory of this name is there to be merged, or something else that ends the merge. @returns LACKS, MERGES, ENDS or -errno */
function directoryAt(loc: Loc, name: Name): Result {
  const fd = loc.fd()
  if (fd < 0) return isAbsent(fd) ? LACKS : fd
  const r = isOciMark(loc, name) ? -ENOENT : statAt(fd, name, below)
  if (r === -ENAMETOOLONG) return LACKS
  if (r < 0) return !isAbsent(r) ? r : hasOciWhiteout(loc, name) ? ENDS : LACKS
  return (below.mode & S_IFMT) === S_IFDIR ? MERGES : ENDS
}
