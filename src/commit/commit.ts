/** `layerfs commit`: an upper frozen into a layer. */

import { DT_DIR, DT_UNKNOWN, EAGAIN, ENOENT, O_DIRECTORY, O_RDONLY, S_IFDIR, S_IFMT } from '../abi/linux.js'
import { NLINK, OCI_OPAQUE, OCI_WHITEOUT_PREFIX, ORIGIN, overlayPrefix, UPPER } from '../abi/overlay.js'
import { LayerfsError } from '../errors.js'
import { makeDirectory, otherMounts } from '../export/export.js'
import { type Facts, factsOf, type Hash, hashOf, loadHash, xattrsOf } from '../export/facts.js'
import { type Counts, type LinkMode, openContent, Placer } from '../export/place.js'
import { closeLayers, openLayers, type Source, sourceOf } from '../export/source.js'
import { build, Target, type TargetOptions } from '../export/target.js'
import { check, drive, type MergedDir, within } from '../export/walk.js'
import type { LayerSpec } from '../options.js'
import { close, flock, LOCK_NB, LOCK_SH, open } from '../sys/file.js'
import { rmdirAt } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import type { Layer } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { readRedirect } from '../union/redirect.js'
import { Found, resolve } from '../union/resolve.js'
import { isWhiteout, readMarks } from '../union/whiteout.js'
import { Attr, type Name } from '../vfs.js'
import { walkRaw } from './raw.js'

export interface CommitOptions extends TargetOptions {
  /**
   * The layers beneath the upper, topmost first: what equals what they show is left out. Without any the layer holds
   * all that the upper does.
   */
  lower?: readonly LayerSpec[]
  /** `clone` by default: the upper may be written again, and must not change the layer then. */
  link?: LinkMode
  signal?: AbortSignal
  /** The caller has it mounted, and sees to it that nothing is written meanwhile. */
  mounted?: true
}

export interface CommitSummary {
  out: string
  /** Files and whiteouts in the new layer. */
  files: number
  directories: number
  /** Files, whiteouts and directories left out, for changing nothing. */
  dropped: number
  seconds: number
}

/** What only a mount of the upper itself has use for. */
const PRIVATE = new Set(
  [ORIGIN, NLINK, UPPER].flatMap((name) => [overlayPrefix('trusted') + name, overlayPrefix('user') + name]),
)

/**
 * Makes `out` a layer with what an upper holds: whiteouts, opaque marks and redirects as they are.
 *
 * @throws LayerfsError UPPER_IN_USE while it is mounted by layerfs; as exportTree
 */
export async function commitUpper(
  upper: string,
  out: string,
  options: CommitOptions = {},
): Promise<CommitSummary> {
  const since = performance.now()
  const hash = await loadHash()
  // Owners stay as stored: the new layer is used with the maps of the upper.
  const specs = [upper, ...(options.lower ?? []).map((layer) => layer.path)].map((path) => ({ path }))
  const layers = openLayers(specs)
  let lock = -1
  try {
    if (options.mounted !== true) lock = lockUpper(layers[0] as Layer)
    const source = sourceOf(layers)
    const target = Target.at(out, layers, options)
    const { path } = target
    const apart = otherMounts(layers, target.parent)
    const placer = new Placer(
      source.stack,
      options.link ?? 'clone',
      (loc) => (apart.has(loc.layer) ? 'EXDEV' : undefined),
      (xattr) => !PRIVATE.has(xattr),
      true,
    )
    const freezer = new Freezer(source, placer, hash, options.lower !== undefined)
    await build(target, (root) => drive(freezer.all(root), options.signal))
    const { directories, files }: Counts = placer.counts
    return {
      out: path,
      files,
      directories: directories - freezer.droppedDirectories,
      dropped: freezer.dropped + freezer.droppedDirectories,
      seconds: Math.round(performance.now() - since) / 1000,
    }
  } finally {
    if (lock >= 0) close(lock)
    closeLayers(layers)
  }
}

/** Keeps mounts from taking the upper into use meanwhile. */
function lockUpper(upper: Layer): number {
  const fd = check(open(upper.root.fd(), '.', O_RDONLY | O_DIRECTORY), 'open', '')
  const r = flock(fd, LOCK_SH | LOCK_NB)
  if (r === -EAGAIN) {
    close(fd)
    throw new LayerfsError('UPPER_IN_USE', `${upper.path} is in use by a mount: unmount that first`, {
      errno: EAGAIN,
      path: upper.path,
    })
  }
  check(r, 'lock', '')
  return fd
}

/** A directory of the new layer. */
interface Level {
  out: Loc
  /** The lower directories that merge with it. */
  below: readonly Loc[]
  /** Whether anything has been put in it. */
  used: boolean
}

const mine = new Attr()
const found = new Found()

class Freezer {
  dropped = 0
  droppedDirectories = 0

  constructor(
    private readonly source: Source,
    private readonly placer: Placer,
    private readonly hash: Hash,
    private readonly dropSame: boolean,
  ) {}

  *all(root: Loc): Generator<void, void> {
    const levels: Level[] = []
    for (const { kind, dir } of walkRaw((this.source.stack.layers[0] as Layer).root)) {
      if (kind === 'leave') {
        this.leave(levels, dir)
        continue
      }
      const above = levels.at(-1)
      const level: Level = {
        out: above === undefined ? root : makeDirectory(above.out, dir),
        below: above === undefined ? this.source.roots.slice(1) : this.belowOf(above, dir),
        used: false,
      }
      levels.push(level)
      this.placer.counts.directories++
      for (const [at, type] of dir.listing.types.entries()) {
        if (type === DT_DIR || type === DT_UNKNOWN) continue
        if (this.dropSame && this.changesNothing(dir, at, level)) this.dropped++
        else {
          this.placer.place(dir, at, level.out)
          level.used = true
        }
        yield
      }
      yield
    }
    this.placer.settle()
  }

  /** The lower directories that merge with one of the upper, as a mount finds them. */
  private belowOf(above: Level, dir: MergedDir): readonly Loc[] {
    if (!this.dropSame) return []
    const own = dir.locs[0] as Loc
    const parents = [own.parent as Loc, ...above.below]
    const r = resolve(this.source.stack, parents, dir.name, found)
    return r === 0 ? found.locs.slice(1) : []
  }

  private leave(levels: Level[], dir: MergedDir): void {
    const level = levels.pop() as Level
    const above = levels.at(-1)
    if (above === undefined) {
      this.placer.keepDirectory(dir, level.out)
      return
    }
    if (this.dropSame && !level.used && this.sameDirectory(dir, level, above)) {
      level.out.drop()
      check(rmdirAt(check(above.out.fd(), 'open the new', dir.path), dir.name), 'remove', dir.path)
      this.droppedDirectories++
      return
    }
    this.placer.keepDirectory(dir, level.out)
    level.out.drop()
    above.used = true
  }

  /** Whether a directory without contents of its own shows as the lower ones do without it. */
  private sameDirectory(dir: MergedDir, level: Level, above: Level): boolean {
    const own = dir.locs[0] as Loc
    const below = level.below[0]
    if (below === undefined || check(readMarks(own), 'read the marks of', dir.path) === 1) return false
    const redirect = readRedirect(own.parent as Loc, dir.name)
    if (typeof redirect === 'number') check(redirect, 'read the redirect of', dir.path)
    if (redirect !== undefined) return false
    if (resolve(this.source.stack, above.below, dir.name, found) !== 0) return false
    if ((found.attr.mode & S_IFMT) !== S_IFDIR) return false
    return this.sameMetadata(dir.path, own.parent as Loc, found.container as Loc, dir.name) !== undefined
  }

  /** Whether the lowers show the same without an entry of the upper. */
  private changesNothing(dir: MergedDir, at: number, level: Level): boolean {
    const name = dir.listing.names[at] as Name
    const loc = dir.listing.from[at] as Loc
    const path = within(dir, name)
    if (loc.layer.ociWhiteouts && name.startsWith(OCI_WHITEOUT_PREFIX))
      return name !== OCI_OPAQUE && this.hidesNothing(name.slice(OCI_WHITEOUT_PREFIX.length), level, path)
    check(statAt(check(loc.fd(), 'open', dir.path), name, mine), 'look at', path)
    if (isWhiteout(loc, name, mine)) return this.hidesNothing(name, level, path)
    // Of a file with several names all stay, so that they stay one file.
    if (mine.nlink > 1) return false
    const r = resolve(this.source.stack, level.below, name, found)
    if (r === -ENOENT) return false
    check(r, 'look up', path)
    if ((found.attr.mode & S_IFMT) === S_IFDIR || found.attr.nlink > 1) return false
    const container = found.container as Loc
    const facts = this.sameMetadata(path, loc, container, name)
    if (facts === undefined) return false
    if (facts.type !== 'file' || facts.size === 0) return true
    const own = hashOf(this.hash, openContent(this.source.stack, [loc, ...level.below], loc, name), path)
    return own === hashOf(this.hash, openContent(this.source.stack, level.below, container, name), path)
  }

  private hidesNothing(name: Name, level: Level, path: Name): boolean {
    const r = resolve(this.source.stack, level.below, name, found)
    if (r !== -ENOENT) check(r, 'look up', path)
    return r === -ENOENT
  }

  /** The facts of two files that differ in no metadata, times included; undefined where they do. The second's attributes are in `found`. */
  private sameMetadata(path: Name, own: Loc, below: Loc, name: Name): Facts | undefined {
    const fd = check(own.fd(), 'open', path)
    check(statAt(fd, name, mine), 'look at', path)
    const { attr } = found
    if (mine.mtime !== attr.mtime || mine.mtimeNs !== attr.mtimeNs) return undefined
    const a = factsOf(mine, own.layer, fd, name, path)
    const belowFd = check(below.fd(), 'open', path)
    const b = factsOf(attr, below.layer, belowFd, name, path)
    if (JSON.stringify(a) !== JSON.stringify(b)) return undefined
    const xattrs = xattrsOf(own.layer, check(own.fd(), 'open', path), name, path).join()
    return xattrs === xattrsOf(below.layer, belowFd, name, path).join() ? a : undefined
  }
}
