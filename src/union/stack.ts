/** Opening the layers of a mount, and refusing stacks that would eat themselves. */

import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, sep } from 'node:path'
import { AT_FDCWD, O_DIRECTORY, O_PATH } from '../abi/linux.js'
import { LayerfsError } from '../errors.js'
import { close as closeFd, open } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { statAt, utimensAt } from '../sys/stat.js'
import { cloneWithoutAtime } from '../sys/tree.js'
import { removeXattr, xattrNames } from '../sys/xattr.js'
import { Attr } from '../vfs.js'
import { type Door, Layer, type UnionOptions } from './layer.js'
import { isContent } from './metadata.js'
import { setMode, setOwner, statIn } from './override.js'
import type { Stack } from './resolve.js'
import { Workdir } from './workdir.js'

/** A stack in use. */
export interface OpenStack {
  stack: Stack
  workdir: Workdir | undefined
  /** Files of the upper are to be read with O_NOATIME. */
  noatime: boolean
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
  const work = ephemeral?.work ?? options.work ?? ''
  const quiet = upperSpec !== undefined && keepsAtime(options.kernelOptions ?? [])
  const doors = quiet ? openQuiet(upperSpec.path, work) : undefined
  const close = (): void => {
    workdir?.close()
    for (const layer of opened) layer.root.closeRoot()
    if (ephemeral !== undefined) rmSync(ephemeral.base, { recursive: true, force: true })
  }
  try {
    for (const spec of options.lower) opened.push(Layer.open(spec, options, false))
    const upper =
      upperSpec === undefined ? undefined : Layer.open(upperSpec, options, true, false, doors?.upper)
    if (upper !== undefined) {
      refuseOverlap(upper, opened)
      if (ephemeral !== undefined) likeLower(upper, opened[0])
      else refuseNested(upper, work)
      opened.unshift(upper)
      workdir = Workdir.open(upper, work, options, doors?.work)
    }
    const privileged = workdir === undefined || workdir.namespace === 'trusted'
    const stack = { layers: opened, upper, followRedirects: options.redirect !== 'off' && privileged }
    const renew = (): void => {
      if (upper === undefined || ephemeral === undefined) return
      dropXattrs(upper)
      likeLower(upper, opened[1])
    }
    const noatime = quiet && doors === undefined
    return { stack, workdir, noatime, ephemeral: ephemeral?.upper.path, renew, close }
  } catch (error) {
    close()
    throw error
  } finally {
    if (doors !== undefined) closeFd(doors.upper.dirfd)
  }
}

/** Whether words of mount(8), of which the last counts, have reading leave access times alone. */
function keepsAtime(words: readonly string[]): boolean {
  const word = words.filter((o) => /^(no|rel|strict)?atime$/.test(o)).at(-1)
  return word === 'noatime' || words.includes('ro')
}

/**
 * Opens an upper and its workdir by way of one clone of their mount that keeps no access times: renames and links go
 * within one mount, and what the kernel reads past us is read through it too.
 *
 * @returns undefined where that is not permitted, or leads elsewhere
 */
function openQuiet(upper: string, work: string): { upper: Door; work: Door } | undefined {
  let paths: [string, string]
  try {
    paths = [realpathSync(upper), realpathSync(work)]
  } catch {
    // Missing: whoever opens it says so.
    return undefined
  }
  const [a, b] = paths.map((path) => path.split(sep)) as [string[], string[]]
  const shared = a.findIndex((part, i) => part !== b[i])
  const above = a.slice(0, shared < 0 ? a.length : shared).join(sep) || sep
  const fd = open(AT_FDCWD, bytesOf(above), O_PATH | O_DIRECTORY)
  const dirfd = fd < 0 ? fd : cloneWithoutAtime(fd)
  if (fd >= 0) closeFd(fd)
  if (dirfd < 0) return undefined
  const [up, wk] = paths.map((path) => ({ dirfd, path: bytesOf(relative(above, path) || '.') })) as [
    Door,
    Door,
  ]
  if (leadsTo(up, paths[0]) && leadsTo(wk, paths[1])) return { upper: up, work: wk }
  closeFd(dirfd)
  return undefined
}

/** Whether a door leads to the directory of this path, not to what another mount covers there. */
function leadsTo(door: Door, path: string): boolean {
  const there = new Attr()
  const here = new Attr()
  const r = statAt(door.dirfd, door.path, there) | statAt(AT_FDCWD, bytesOf(path), here)
  return r === 0 && there.dev === here.dev && there.ino === here.ino
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
