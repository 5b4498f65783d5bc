/** `layerfs squash`: several layers into one that does to the layers beneath what they did together. */

import { DT_DIR, DT_UNKNOWN, EEXIST, ENOENT, S_IFDIR, S_IFMT } from '../abi/linux.js'
import { OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { LayerfsError } from '../errors.js'
import { makeDirectory, otherMounts } from '../export/export.js'
import { type LinkMode, Placer } from '../export/place.js'
import { closeLayers, openLayers, type Source, sourceOf } from '../export/source.js'
import { build, Target, type TargetOptions } from '../export/target.js'
import { check, drive, type MergedDir, shown, walk, within } from '../export/walk.js'
import type { LayerSpec } from '../options.js'
import { statAt } from '../sys/stat.js'
import type { WhiteoutForm } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { isContent } from '../union/metadata.js'
import { OVERRIDE_XATTRS } from '../union/override.js'
import { readRedirect } from '../union/redirect.js'
import { hasOciWhiteout, isOciMark, readMarks } from '../union/whiteout.js'
import { Attr, type Name } from '../vfs.js'
import { declareForm, writeOpaque, writeWhiteout } from './marks.js'

export interface SquashOptions extends TargetOptions {
  /** The form of the new layer's marks; `overlay` by default. */
  whiteouts?: WhiteoutForm
  /** `auto` by default: layers do not change, so their files can be shared. */
  link?: LinkMode
  signal?: AbortSignal
}

export interface SquashSummary {
  out: string
  directories: number
  files: number
  linked: number
  whiteouts: number
  opaque: number
  seconds: number
}

/**
 * Makes `out` the layer that `layers`, topmost first, are together.
 *
 * @throws LayerfsError UNSUPPORTED for a redirected directory, whose other part may lie in a layer that is not given,
 *   and for names that the form of whiteouts takes for marks; as exportTree
 */
export async function squashLayers(
  specs: readonly LayerSpec[],
  out: string,
  options: SquashOptions = {},
): Promise<SquashSummary> {
  const since = performance.now()
  // Owners stay as stored, whatever the layers are shown with.
  const layers = openLayers(specs.map(({ path }) => ({ path })))
  try {
    const source = sourceOf(layers)
    const target = Target.at(out, layers, options)
    const { path } = target
    const apart = otherMounts(layers, target.parent)
    const placer = new Placer(
      source.stack,
      options.link ?? 'auto',
      (loc) => (apart.has(loc.layer) ? 'EXDEV' : undefined),
      (xattr) => isContent(xattr) || OVERRIDE_XATTRS.includes(xattr),
    )
    const squasher = new Squasher(source, placer, options.whiteouts ?? 'overlay')
    await build(target, (root) => drive(squasher.all(root), options.signal))
    const { directories, files, linked } = placer.counts
    const { whiteouts, opaque } = squasher
    const seconds = Math.round(performance.now() - since) / 1000
    return { out: path, directories, files, linked, whiteouts, opaque, seconds }
  } finally {
    closeLayers(layers)
  }
}

const attr = new Attr()

class Squasher {
  whiteouts = 0
  opaque = 0
  /** Whether a file is named as a mark of the other form. */
  private ambiguous = false

  constructor(
    private readonly source: Source,
    private readonly placer: Placer,
    private readonly form: WhiteoutForm,
  ) {}

  *all(root: Loc): Generator<void, void> {
    const levels: { out: Loc; dir: MergedDir; opaque: boolean }[] = []
    for (const { kind, dir } of walk(this.source)) {
      if (kind === 'leave') {
        const { out, opaque } = levels.pop() as { out: Loc; opaque: boolean }
        this.placer.keepDirectory(dir, out)
        // Only now: the directory's xattrs have been set.
        if (opaque) this.markOpaque(dir, out)
        if (levels.length > 0) out.drop()
        else if (this.ambiguous) this.declare(out)
        continue
      }
      const above = levels.at(-1)
      if (above !== undefined) this.refuseRedirect(dir)
      const out = above === undefined ? root : makeDirectory(above.out, dir)
      const opaque = above === undefined ? this.rootIsOpaque() : this.endsWithin(above.dir, dir)
      levels.push({ out, dir, opaque })
      this.placer.counts.directories++
      yield* this.fill(dir, out)
      // What an opaque directory hides it hides without whiteouts.
      if (!opaque) this.hide(dir, out)
    }
    this.placer.settle()
  }

  private *fill(dir: MergedDir, out: Loc): Generator<void, void> {
    const { types, names } = dir.listing
    for (const [at, type] of types.entries()) {
      if (type === DT_UNKNOWN) continue
      this.checkName(dir, names[at] as Name)
      if (type !== DT_DIR) this.placer.place(dir, at, out)
      yield
    }
  }

  /** Writes the whiteouts that count for the layers beneath. */
  private hide(dir: MergedDir, out: Loc): void {
    for (const name of dir.hidden) {
      if (dir.listing.find(name) >= 0) continue
      const fd = check(out.fd(), 'open the new', dir.path)
      check(writeWhiteout(this.form, fd, name), 'make a whiteout for', within(dir, name))
      this.whiteouts++
    }
  }

  private checkName(dir: MergedDir, name: Name): void {
    if (!name.startsWith(OCI_WHITEOUT_PREFIX)) return
    this.ambiguous = true
    if (this.form === 'oci') throw markName(within(dir, name))
  }

  private refuseRedirect(dir: MergedDir): void {
    for (const loc of dir.locs) {
      const redirect = loc.parent === undefined ? undefined : readRedirect(loc.parent, loc.name)
      if (typeof redirect === 'number') check(redirect, 'read the redirect of', dir.path)
      if (redirect !== undefined)
        throw new LayerfsError(
          'UNSUPPORTED',
          `${shown(dir.path)} was renamed by a redirect, whose target may lie beneath these layers: export the whole stack instead`,
          { path: shown(dir.path) },
        )
    }
  }

  private rootIsOpaque(): boolean {
    return this.source.roots.some((root) => check(readMarks(root), 'read the marks of', '') === 1)
  }

  /** Whether something in these layers keeps the layers beneath out of a directory. */
  private endsWithin(parent: MergedDir, dir: MergedDir): boolean {
    let seen = false
    for (const loc of parent.locs) {
      const fd = check(loc.fd(), 'open', parent.path)
      const r = isOciMark(loc, dir.name) ? -ENOENT : statAt(fd, dir.name, attr)
      if (r !== -ENOENT) {
        check(r, 'look at', dir.path)
        if ((attr.mode & S_IFMT) !== S_IFDIR) return seen
        seen = true
        if (check(readMarks(loc.child(dir.name)), 'read the marks of', dir.path) === 1) return true
      }
      if (hasOciWhiteout(loc, dir.name)) return true
    }
    return false
  }

  private markOpaque(dir: MergedDir, out: Loc): void {
    check(writeOpaque(this.form, check(out.fd(), 'open the new', dir.path)), 'make opaque', dir.path)
    this.opaque++
    if (this.form !== 'oci') return
    // The mark is a file: the times go back to what they are to be.
    this.placer.keepDirectory(dir, out)
  }

  private declare(out: Loc): void {
    const r = declareForm(this.form, check(out.fd(), 'open the new', ''))
    if (r !== -EEXIST) check(r, 'declare the form of the whiteouts of', '')
  }
}

/** For a file that the form `oci` would take for a whiteout. */
export const markName = (path: Name): LayerfsError =>
  new LayerfsError(
    'UNSUPPORTED',
    `${shown(path)} is a file whose name means a whiteout in the form oci: rename it, or use the form overlay`,
    { path: shown(path) },
  )
