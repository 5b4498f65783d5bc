/**
 * `layerfs convert`: a layer's marks in the other form. In place each mark is first written in the new form and then
 * removed in the old, so that at every moment one of them hides what is to be hidden; an interrupted conversion is
 * finished by another. Of a directory that is changed the times stay.
 */

import {
  DT_CHR,
  DT_DIR,
  DT_REG,
  DT_UNKNOWN,
  ENOENT,
  O_DIRECTORY,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
} from '../abi/linux.js'
import { OCI_OPAQUE, OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { LayerfsError } from '../errors.js'
import { makeDirectory, otherMounts } from '../export/export.js'
import { type LinkMode, Placer } from '../export/place.js'
import { closeLayers, openLayers, sourceOf } from '../export/source.js'
import { build, Target, type TargetOptions } from '../export/target.js'
import { check, drive, type MergedDir, within } from '../export/walk.js'
import { close, flock, LOCK_EX, LOCK_NB, open, syncfs } from '../sys/file.js'
import { unlinkAt } from '../sys/name.js'
import { stat, statAt, utimensAt } from '../sys/stat.js'
import type { Layer, WhiteoutForm } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { isWhiteout, readMarks } from '../union/whiteout.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { declareForm, removeOpaqueXattrs, undeclareForm, writeOpaque, writeWhiteout } from './marks.js'
import { walkRaw } from './raw.js'
import { markName } from './squash.js'

export interface ConvertOptions extends TargetOptions {
  /** The form to convert to. */
  whiteouts: WhiteoutForm
  /** Makes a copy with the other marks there, the layer staying as it is. */
  out?: string
  /** How the copy's files are made; `auto` by default. */
  link?: LinkMode
  signal?: AbortSignal
}

export interface ConvertSummary {
  /** The layer in the new form. */
  path: string
  whiteouts: number
  opaque: number
  seconds: number
}

/**
 * Brings the whiteouts and opaque marks of a layer into one form, and declares that it has no other.
 *
 * @throws LayerfsError UNSUPPORTED for files that the form `oci` would take for marks, before anything is changed;
 *   UPPER_IN_USE; as exportTree
 */
export async function convertLayer(dir: string, options: ConvertOptions): Promise<ConvertSummary> {
  const since = performance.now()
  const layers = openLayers([{ path: dir }])
  const layer = layers[0] as Layer
  const { signal } = options
  try {
    const converter = new Converter(layer, options.whiteouts)
    await drive(converter.inspect(), signal)
    let path = dir
    if (options.out === undefined) {
      const lock = lockLayer(layer)
      try {
        await drive(converter.inPlace(lock), signal)
      } finally {
        close(lock)
      }
    } else {
      const target = Target.at(options.out, layers, options)
      path = target.path
      const apart = otherMounts(layers, target.parent)
      const placer = new Placer(
        sourceOf(layers).stack,
        options.link ?? 'auto',
        (loc) => (apart.has(loc.layer) ? 'EXDEV' : undefined),
        () => true,
        true,
      )
      await build(target, (root) => drive(converter.into(root, placer), signal))
    }
    const seconds = Math.round(performance.now() - since) / 1000
    return { path, whiteouts: converter.whiteouts, opaque: converter.opaque, seconds }
  } finally {
    closeLayers(layers)
  }
}

function lockLayer(layer: Layer): number {
  const fd = check(open(layer.root.fd(), '.', O_RDONLY | O_DIRECTORY), 'open', '')
  if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    close(fd)
    throw new LayerfsError('UPPER_IN_USE', `${layer.path} is in use by a mount: unmount that first`, {
      path: layer.path,
    })
  }
  return fd
}

/** What an entry of a layer is. `hides`: the name that a whiteout hides. */
type Role = { kind: 'plain' } | { kind: 'opaque' } | { kind: 'whiteout'; form: WhiteoutForm; hides: Name }

const PLAIN: Role = { kind: 'plain' }
const attr = new Attr()
const times = new Attr()

/** One conversion, step by step. */
export class Converter {
  whiteouts = 0
  opaque = 0

  constructor(
    private readonly layer: Layer,
    private readonly form: WhiteoutForm,
  ) {}

  /** Looks for what cannot be converted. */
  *inspect(): Generator<void, void> {
    for (const { kind, dir } of walkRaw(this.layer.root)) {
      if (kind === 'leave') continue
      if (this.form === 'oci')
        for (const name of dir.listing.names)
          if (name.startsWith(OCI_WHITEOUT_PREFIX) && !this.layer.ociWhiteouts)
            throw markName(within(dir, name))
      yield
    }
  }

  /** @param rootFd of the layer, open for reading */
  *inPlace(rootFd: number): Generator<void, void> {
    // It says of itself that it has no other marks: what looks like one is a file.
    if (this.layer.form === this.form) return
    // From here to the end marks of both forms count, whatever was declared.
    check(undeclareForm(rootFd), 'change the declared form of', '')
    const declared = this.layer.form
    for (const { kind, dir } of walkRaw(this.layer.root)) {
      if (kind === 'leave') continue
      const loc = dir.locs[0] as Loc
      const fd = check(loc.fd(), 'open', dir.path)
      check(stat(fd, times), 'look at', dir.path)
      const { atime, atimeNs, mtime, mtimeNs } = times
      if (this.convert(dir, loc, declared))
        check(utimensAt(fd, '.', atime, atimeNs, mtime, mtimeNs), 'set the times of', dir.path)
      yield
    }
    check(declareForm(this.form, rootFd), 'declare the form of', '')
    check(syncfs(rootFd), 'sync', '')
  }

  /** @returns whether anything was changed */
  private convert(dir: MergedDir, loc: Loc, declared: WhiteoutForm | undefined): boolean {
    let changed = this.convertOpaque(dir, loc)
    for (const [at, type] of dir.listing.types.entries()) {
      const name = dir.listing.names[at] as Name
      const role = this.roleOf(dir, loc, name, type, declared)
      if (role.kind !== 'whiteout' || role.form === this.form) continue
      const fd = check(loc.fd(), 'open', dir.path)
      this.hide(dir, fd, role.hides)
      const r = unlinkAt(fd, name)
      if (r !== -ENOENT) check(r, 'remove', within(dir, name))
      changed = true
    }
    return changed
  }

  private convertOpaque(dir: MergedDir, loc: Loc): boolean {
    if (check(readMarks(loc), 'read the marks of', dir.path) !== 1) return false
    const fd = check(loc.fd(), 'open', dir.path)
    check(writeOpaque(this.form, fd), 'make opaque', dir.path)
    this.opaque++
    if (this.form === 'oci') check(removeOpaqueXattrs(fd), 'change the marks of', dir.path)
    else if (this.layer.ociWhiteouts) {
      const r = unlinkAt(fd, OCI_OPAQUE)
      if (r !== -ENOENT) check(r, 'remove the mark of', dir.path)
    }
    return true
  }

  /** Writes a whiteout in the new form. */
  private hide(dir: MergedDir, fd: number, name: Name): void {
    const path = within(dir, name)
    this.whiteouts++
    if (this.form === 'oci') {
      check(writeWhiteout('oci', fd, name), 'make a whiteout for', path)
      return
    }
    // In the form `oci` the layer may also have a file or directory by the name that is hidden below.
    const r = statAt(fd, name, attr)
    if (r === -ENOENT) check(writeWhiteout('overlay', fd, name), 'make a whiteout for', path)
    else if (check(r, 'look at', path) >= 0 && (attr.mode & S_IFMT) === S_IFDIR)
      this.makeOpaque(fd, name, path)
  }

  private makeOpaque(fd: number, name: Name, path: Name): void {
    const dir = check(open(fd, name, O_RDONLY | O_DIRECTORY), 'open', path)
    const r = writeOpaque('overlay', dir)
    close(dir)
    check(r, 'make opaque', path)
  }

  private roleOf(
    dir: MergedDir,
    loc: Loc,
    name: Name,
    type: number,
    declared: WhiteoutForm | undefined,
  ): Role {
    if (name.startsWith(OCI_WHITEOUT_PREFIX) && declared !== 'overlay')
      return name === OCI_OPAQUE
        ? { kind: 'opaque' }
        : { kind: 'whiteout', form: 'oci', hides: name.slice(OCI_WHITEOUT_PREFIX.length) }
    if (type !== DT_CHR && !(type === DT_REG && loc.xwhiteouts === true)) return PLAIN
    check(statAt(check(loc.fd(), 'open', dir.path), name, attr), 'look at', within(dir, name))
    return isWhiteout(loc, name, attr) ? { kind: 'whiteout', form: 'overlay', hides: name } : PLAIN
  }

  /** Makes a copy with the marks in the new form. */
  *into(root: Loc, placer: Placer): Generator<void, void> {
    const outs: Loc[] = []
    for (const { kind, dir } of walkRaw(this.layer.root)) {
      if (kind === 'leave') {
        const out = outs.pop() as Loc
        this.finish(dir, out, placer, outs.length === 0)
        if (outs.length > 0) out.drop()
        continue
      }
      const out = outs.length === 0 ? root : makeDirectory(outs.at(-1) as Loc, dir)
      outs.push(out)
      for (const [at, type] of dir.listing.types.entries()) {
        if (type === DT_DIR || type === DT_UNKNOWN) continue
        this.copy(dir, at, type, out, placer)
        yield
      }
      yield
    }
    placer.settle()
  }

  private copy(dir: MergedDir, at: number, type: number, out: Loc, placer: Placer): void {
    const name = dir.listing.names[at] as Name
    const role = this.roleOf(dir, dir.locs[0] as Loc, name, type, this.layer.form)
    if (role.kind === 'plain') placer.place(dir, at, out)
    else if (role.kind === 'whiteout') {
      // A directory by that name is made later, and made opaque then.
      if (this.form === 'overlay' && dir.listing.find(role.hides) >= 0 && role.form === 'oci') return
      const fd = check(out.fd(), 'open the new', dir.path)
      check(writeWhiteout(this.form, fd, role.hides), 'make a whiteout for', within(dir, role.hides))
      this.whiteouts++
    }
  }

  /** Metadata and marks of a directory of the copy, all in it being done. */
  private finish(dir: MergedDir, out: Loc, placer: Placer, isRoot: boolean): void {
    const loc = dir.locs[0] as Loc
    placer.keepDirectory(dir, out)
    const beside = loc.parent?.fd() ?? -1
    const hidden =
      this.form === 'overlay' &&
      this.layer.ociWhiteouts &&
      beside >= 0 &&
      statAt(beside, OCI_WHITEOUT_PREFIX + dir.name, attr) === 0
    const fd = check(out.fd(), 'open the new', dir.path)
    if (hidden || check(readMarks(loc), 'read the marks of', dir.path) === 1) {
      if (this.form === 'oci') check(removeOpaqueXattrs(fd), 'change the marks of', dir.path)
      check(writeOpaque(this.form, fd), 'make opaque', dir.path)
      this.opaque++
      this.restoreTimes(loc, fd, dir.path)
    }
    if (!isRoot) return
    check(undeclareForm(fd), 'change the declared form of', '')
    check(declareForm(this.form, fd), 'declare the form of', '')
  }

  private restoreTimes(loc: Loc, fd: number, path: Name): void {
    check(stat(check(loc.fd(), 'open', path), times), 'look at', path)
    const r: Result = utimensAt(fd, '.', times.atime, times.atimeNs, times.mtime, times.mtimeNs)
    check(r, 'set the times of', path)
  }
}
