/** Dropping all changes of a mount, or taking in ones made to its upper from outside, while it stays mounted. */

import { O_DIRECTORY, O_RDONLY } from '../abi/linux.js'
import { OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { close, open } from '../sys/file.js'
import { listDir } from '../sys/name.js'
import { emptyDir } from '../sys/remove.js'
import type { Name, Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Loc } from './loc.js'
import { detach } from './lookup.js'
import { Dir } from './node.js'
import { isOciMark } from './whiteout.js'

/**
 * Empties the upper: the mount shows its lowers again. Takes time by what had changed, not by what the lowers hold.
 * Directories of the lowers stay the nodes they were; a changed file that is still open lives on without a name.
 *
 * @param renew gives the upper's root the look it began with
 * @returns how many open files have lost their names so; -errno
 */
export function reset(core: Core, root: Dir, renew: () => void): Result {
  const { workdir } = core
  let orphans = revert(core, root, (child) => isLowerPart(root, child))
  if (workdir === undefined || orphans < 0) return orphans
  orphans += revertIndexed(core)
  let r = emptyDir(root.upperLoc.fd(), '.')
  if (r >= 0 && workdir.index !== undefined) r = emptyDir(workdir.index.fd(), '.')
  if (r < 0) orphans = r
  renew()
  core.table.showAll()
  return orphans
}

/** Makes the kernel and the tables forget the names that the index led to copies. */
function revertIndexed(core: Core): number {
  let orphans = 0
  for (const node of core.table) {
    if (node.indexed === undefined) continue
    for (const { parent, name } of [node, ...(node.more ?? [])])
      if (parent !== undefined) core.notifier?.entry(parent.id, name)
    orphans += detach(core, node)
  }
  return orphans
}

/** Takes in what somebody else has put into the upper or taken from it, once nothing of it is known. @returns as reset */
export const reload = (core: Core, root: Dir): Result => revert(core, root, () => false)

/** A directory merged of the upper and the same name below: without the upper it is the lower one. */
const isLowerPart = (parent: Dir, child: Dir): boolean => {
  const below = child.locs[1]
  return (
    below !== undefined &&
    child.inUpper &&
    below.name === child.name &&
    parent.locs.includes(below.parent as Loc)
  )
}

/**
 * Makes the kernel and the tables forget each name that the upper has in a directory.
 *
 * @param keep whether a directory goes on as its lower part
 */
function revert(core: Core, dir: Dir, keep: (child: Dir) => boolean): Result {
  const names = upperNames(dir.upperLoc)
  if (typeof names === 'number') return names
  let orphans = 0
  for (const name of names) {
    core.notifier?.entry(dir.id, name)
    const child = dir.children?.get(name)
    if (child === undefined) continue
    if (child instanceof Dir && keep(child)) {
      const r = revert(core, child, (grandchild) => isLowerPart(child, grandchild))
      if (r < 0) return r
      orphans += r
      child.upperLoc.drop()
      child.locs = child.locs.slice(1)
      child.container = (child.locs[0] as Loc).parent as Loc
    } else orphans += detach(core, child)
  }
  core.dropListing(dir)
  dir.upperLoc.forgetMarks()
  dir.defaultAcl = undefined
  dir.bare = undefined
  core.notifier?.attributes(dir.id)
  core.notifier?.pages(dir.id, 0, 0)
  return orphans
}

/** The names that a directory of the upper says something about, be it that they are hidden. */
function upperNames(loc: Loc): Set<Name> | Result {
  const path = loc.fd()
  const fd = path < 0 ? path : open(path, '.', O_RDONLY | O_DIRECTORY)
  if (fd < 0) return fd
  const names = new Set<Name>()
  const r = listDir(fd, (name) => {
    names.add(isOciMark(loc, name) ? name.slice(OCI_WHITEOUT_PREFIX.length) : name)
  })
  close(fd)
  return r < 0 ? r : names
}
