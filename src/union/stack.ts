/** Opening the layers of a mount, and refusing stacks that would eat themselves. */

import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { LayerfsError } from '../errors.js'
import { utimensAt } from '../sys/stat.js'
import { removeXattr, xattrNames } from '../sys/xattr.js'
import { Attr } from '../vfs.js'
import { Layer, type UnionOptions } from './layer.js'
import { isContent } from './metadata.js'
import { setMode, setOwner, statIn } from './override.js'
import type { Stack } from './resolve.js'
import { Workdir } from './workdir.js'

/** A stack in use. */
export interface OpenStack {
  stack: Stack
  workdir: Workdir | undefined
  /** The upper is a temporary directory: this is it. */
  ephemeral: string | undefined
  /** Gives the root of an emptied ephemeral upper the look it began with. */
  renew(): void
  close(): void
}

/**
 * Opens every layer, takes the upper into use, and makes an ephemeral one where asked.
 *
 * @throws LayerfsError as Layer.open and Workdir.open, UPPER_IN_LOWER
 */
export function openStack(options: UnionOptions): OpenStack {
  const ephemeral = options.ephemeral ? makeEphemeral() : undefined
  const upperSpec = ephemeral?.upper ?? options.upper
  const opened: Layer[] = []
  let workdir: Workdir | undefined
  const close = (): void => {
    workdir?.close()
    for (const layer of opened) layer.root.closeRoot()
    if (ephemeral !== undefined) rmSync(ephemeral.base, { recursive: true, force: true })
  }
  try {
    for (const spec of options.lower) opened.push(Layer.open(spec, options, false))
    const upper = upperSpec === undefined ? undefined : Layer.open(upperSpec, options, true)
    if (upper !== undefined) {
      refuseOverlap(upper, opened)
      if (ephemeral !== undefined) likeLower(upper, opened[0])
      else refuseNested(upper, options.work ?? '')
      opened.unshift(upper)
      workdir = Workdir.open(upper, ephemeral?.work ?? options.work ?? '', options)
    }
    const privileged = workdir === undefined || workdir.namespace === 'trusted'
    const stack = { layers: opened, upper, followRedirects: options.redirect !== 'off' && privileged }
    const renew = (): void => {
      if (upper === undefined || ephemeral === undefined) return
      dropXattrs(upper)
      likeLower(upper, opened[1])
    }
    return { stack, workdir, ephemeral: ephemeral?.upper.path, renew, close }
  } catch (error) {
    close()
    throw error
  }
}

function makeEphemeral(): { base: string; upper: { path: string }; work: string } {
  const base = mkdtempSync(join(tmpdir(), 'layerfs-'))
  const upper = join(base, 'upper')
  const work = join(base, 'work')
  mkdirSync(upper, { mode: 0o755 })
  mkdirSync(work, { mode: 0o700 })
  return { base, upper: { path: upper }, work }
}

/**
 * The root of an ephemeral upper begins as that of the topmost lower is shown. An owner that this process may not give
 * away stays its own: nobody keeps this directory.
 */
function likeLower(upper: Layer, lower: Layer | undefined): void {
  const attr = new Attr()
  if (lower === undefined || statIn(lower, lower.root.fd(), '.', attr) < 0) return
  const fd = upper.root.fd()
  const uid = upper.uids.toDisk(lower.uids.toShown(attr.uid))
  const gid = upper.gids.toDisk(lower.gids.toShown(attr.gid))
  if (uid >= 0 && gid >= 0) setOwner(upper, fd, '.', uid, gid)
  setMode(upper, fd, '.', attr.mode & 0o7777)
  utimensAt(fd, '.', attr.atime, attr.atimeNs, attr.mtime, attr.mtimeNs)
}

/** Of the upper's root, those that are no marks of ours. */
function dropXattrs(upper: Layer): void {
  const fd = upper.root.fd()
  const names = xattrNames(fd, '.')
  if (typeof names === 'number') return
  for (const name of names) if (isContent(name)) removeXattr(fd, '.', name)
}

/** Neither may the upper be seen through a lower, nor a lower change with the upper. */
function refuseOverlap(upper: Layer, lowers: readonly Layer[]): void {
  const real = realpathSync(upper.path)
  for (const lower of lowers) {
    const other = realpathSync(lower.path)
    const same = lower.dev === upper.dev && lower.ino === upper.ino
    if (same || inside(real, other) || inside(other, real))
      throw new LayerfsError(
        'UPPER_IN_LOWER',
        `upper ${upper.path} and lower ${lower.path} are the same or lie within each other: keep the upper outside every lower`,
        { path: upper.path },
      )
  }
}

/** The upper and its workdir are trees apart: what is built in one must not show in the other. */
function refuseNested(upper: Layer, work: string): void {
  if (!existsSync(work)) return
  const real = realpathSync(upper.path)
  const other = realpathSync(work)
  if (inside(real, other) || inside(other, real))
    throw new LayerfsError(
      'WORK_IN_UPPER',
      `workdir ${work} and upper ${upper.path} are the same or lie within each other: give a directory beside the upper`,
      { path: work },
    )
}

const inside = (path: string, dir: string): boolean =>
  path === dir || path.startsWith(dir.endsWith(sep) ? dir : dir + sep)
