/** `layerfs export`: the merged tree as a directory of its own, its files hard links to those of the layers. */

import { DT_DIR, DT_REG, DT_UNKNOWN } from '../abi/linux.js'
import type { LayerSpec } from '../options.js'
import { mkdirAt } from '../sys/name.js'
import { chmodAt, statAt } from '../sys/stat.js'
import type { Layer } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { Attr } from '../vfs.js'
import { Crew } from './crew.js'
import { foresee } from './foresee.js'
import { Counts, type LinkMode, Placer, type Refusal } from './place.js'
import { closeLayers, openLayers, type ReadOptions, type Source, sourceOf } from './source.js'
import { build, mountOf, Target, type TargetOptions } from './target.js'
import { check, drive, type MergedDir, walk, within } from './walk.js'

export interface ExportOptions extends ReadOptions, TargetOptions {
  /** `auto` by default. */
  link?: LinkMode
  /** Takes the write permission from all exported files. A linked file is the layer's own: it loses it there too. */
  protect?: boolean
  /** Changes nothing, and tells what would be done. */
  dryRun?: boolean
  /** Ends the work: nothing is left then. */
  signal?: AbortSignal
  /** Called now and then. */
  onProgress?(counts: Readonly<Counts>): void
}

/** What an export has done, or would do. */
export interface ExportSummary {
  /** The new directory, without symlinks above it. */
  out: string
  directories: number
  files: number
  linked: number
  cloned: number
  copied: number
  made: number
  bytes: number
  unowned: number
  refusals: Partial<Record<Refusal, number>>
  seconds: number
}

/** How many files are put in place between two chances to interrupt. */
const STRIDE = 256

const attr = new Attr()

/**
 * Makes `out` hold the tree that `layers`, topmost first, show together. It appears whole or not at all.
 *
 * @throws LayerfsError LINK_REFUSED with `link: 'only'`; ALREADY_EXISTS, NO_SUCH_DIRECTORY, USAGE, ACCESS_DENIED, IO;
 *   the reason of `signal`
 */
export async function exportTree(
  specs: readonly LayerSpec[],
  out: string,
  options: ExportOptions = {},
): Promise<ExportSummary> {
  const since = performance.now()
  const layers = openLayers(specs, options)
  try {
    const source = sourceOf(layers, options)
    const target = Target.at(out, layers, options)
    const { path } = target
    const mode = options.link ?? 'auto'
    const apart = otherMounts(layers, target.parent)
    const tick = (counts: Counts) => (): void => options.onProgress?.(counts)
    let counts: Counts
    if (options.dryRun === true) {
      counts = new Counts()
      try {
        await drive(foresee(source, mode, apart, target.parent, counts), options.signal, tick(counts))
      } finally {
        target.close()
      }
    } else {
      const placer = new Placer(source.stack, mode, (loc) => (apart.has(loc.layer) ? 'EXDEV' : undefined))
      counts = placer.counts
      await build(target, (root) =>
        drive(fill(source, placer, root, options.protect === true), options.signal, tick(counts)),
      )
    }
    return summary(path, counts, since)
  } finally {
    closeLayers(layers)
  }
}

/** How many files, directories left out, a stack shows: what an export will put in place. @throws LayerfsError */
export async function countFiles(
  specs: readonly LayerSpec[],
  options: ReadOptions,
  signal?: AbortSignal,
): Promise<number> {
  const layers = openLayers(specs, options)
  try {
    return await drive(count(sourceOf(layers, options)), signal)
  } finally {
    closeLayers(layers)
  }
}

function* count(source: Source): Generator<void, number> {
  let files = 0
  for (const { kind, dir } of walk(source)) {
    if (kind === 'leave') continue
    for (const type of dir.listing.types) if (type !== DT_DIR && type !== DT_UNKNOWN) files++
    yield
  }
  return files
}

/** The layers that lie on another mount than the new directory: linkat(2) answers EXDEV for all their files. */
export function otherMounts(layers: readonly Layer[], parentFd: number): ReadonlySet<Layer> {
  const here = mountOf(parentFd)
  return new Set(layers.filter((layer) => mountOf(layer.root.fd()) !== here))
}

function summary(out: string, c: Counts, since: number): ExportSummary {
  return {
    out,
    directories: c.directories,
    files: c.files,
    linked: c.linked,
    cloned: c.cloned,
    copied: c.copied,
    made: c.made,
    bytes: c.bytes,
    unowned: c.unowned,
    refusals: c.refusals,
    seconds: Math.round(performance.now() - since) / 1000,
  }
}

function* fill(source: Source, placer: Placer, root: Loc, protect: boolean): Generator<void, void> {
  const filler = new Filler(placer, protect)
  const outs: Loc[] = []
  try {
    for (const { kind, dir } of walk(source)) {
      if (kind === 'enter') {
        const out = outs.length === 0 ? root : makeDirectory(outs.at(-1) as Loc, dir)
        outs.push(out)
        placer.counts.directories++
        yield* filler.fill(dir, out)
        yield
      } else filler.leave(dir, outs.pop() as Loc)
    }
    filler.finish()
  } finally {
    filler.close()
  }
  placer.settle()
}

/** How many directories may wait for their links before we wait for them. */
const MAX_WAITING = 256

/** Fills the directories of the new tree, with the help of threads where the tree is large. */
class Filler {
  private readonly crew: Crew
  /** Directories that get their metadata once their links are made, those within others before them. */
  private readonly waiting: { dir: MergedDir; out: Loc }[] = []

  constructor(
    private readonly placer: Placer,
    private readonly protect: boolean,
  ) {
    this.crew = new Crew(
      () => placer.counts.linked++,
      (dir, at, out) => placer.place(dir, at, out),
    )
  }

  *fill(dir: MergedDir, out: Loc): Generator<void, void> {
    const { types, from } = dir.listing
    let blind: number[] = []
    for (let at = 0; at < types.length; at++) {
      const type = types[at] as number
      if (type === DT_DIR || type === DT_UNKNOWN) continue
      if (!this.protect && this.crew.ready && this.placer.linksBlindly(from[at] as Loc, type)) {
        const first = blind[0]
        if (blind.length === STRIDE || (first !== undefined && from[first] !== from[at])) {
          this.link(dir, out, blind)
          blind = []
          yield
        }
        blind.push(at)
        continue
      }
      this.place(dir, at, out)
      if (at % STRIDE === STRIDE - 1) yield
    }
    this.link(dir, out, blind)
  }

  private place(dir: MergedDir, at: number, out: Loc): void {
    this.placer.place(dir, at, out)
    this.crew.count(1)
    if (this.protect && dir.listing.types[at] === DT_REG) takeWritePermission(dir, at, out)
  }

  /** Links entries that one directory provides: by a thread that is free, else here. */
  private link(dir: MergedDir, out: Loc, entries: readonly number[]): void {
    const first = entries[0]
    if (first === undefined) return
    const taken = this.crew.hand(dir, dir.listing.from[first] as Loc, out, entries)
    for (const at of entries.slice(taken)) this.place(dir, at, out)
  }

  /** All that a directory holds has been put in it, or is under way. */
  leave(dir: MergedDir, out: Loc): void {
    this.crew.collect()
    this.waiting.push({ dir, out })
    this.flush()
    while (this.waiting.length > MAX_WAITING) {
      this.crew.await()
      this.flush()
    }
  }

  private flush(): void {
    let done = 0
    for (const { dir, out } of this.waiting) {
      if (this.crew.busy(dir)) break
      this.placer.keepDirectory(dir, out)
      if (dir.path.length > 0) for (const loc of [out, ...dir.locs]) loc.drop()
      done++
    }
    this.waiting.splice(0, done)
  }

  finish(): void {
    while (this.waiting.length > 0) {
      this.flush()
      if (this.waiting.length > 0) this.crew.await()
    }
  }

  close(): void {
    this.crew.close()
  }
}

/** Only its maker may enter it until all is in it. */
export function makeDirectory(parent: Loc, dir: MergedDir): Loc {
  check(mkdirAt(check(parent.fd(), 'open the new', dir.path), dir.name, 0o700), 'make', dir.path)
  return parent.child(dir.name)
}

function takeWritePermission(dir: MergedDir, at: number, out: Loc): void {
  const name = dir.listing.names[at] as string
  const fd = check(out.fd(), 'open the new', dir.path)
  const path = within(dir, name)
  check(statAt(fd, name, attr), 'look at', path)
  if ((attr.mode & 0o222) !== 0) check(chmodAt(fd, name, attr.mode & 0o7555), 'protect', path)
}
