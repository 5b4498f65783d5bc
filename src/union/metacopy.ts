/** Files whose metadata lives in one layer and whose data still in one below: `overlay.metacopy` (overlayfs.rst). */

import {
  E2BIG,
  EIO,
  ENODATA,
  ENOSPC,
  EOPNOTSUPP,
  EPERM,
  EXDEV,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  S_IFMT,
  S_IFREG,
} from '../abi/linux.js'
import { METACOPY, overlayPrefix } from '../abi/overlay.js'
import { close, fdatasync, open } from '../sys/file.js'
import { statAt, utimensAt } from '../sys/stat.js'
import { getXattr, removeXattr, setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { copyData } from './copydata.js'
import type { Core } from './core.js'
import { isAbsent, type Loc } from './loc.js'
import type { Node } from './node.js'
import { lowerPath, readRedirect, redirectedPath, walkRedirect } from './redirect.js'
import type { Stack } from './resolve.js'
import { REDIRECT_XATTR } from './whiteout.js'

/** Only the privileged namespace counts, as for redirects: the data it names lies elsewhere. */
const METACOPY_XATTR = overlayPrefix('trusted') + METACOPY
const nothing = Buffer.alloc(0)

/** 1: a regular file's data lives in a layer below its metadata; 0: it does not; -errno. */
export function isMetacopy(dirfd: number, name: Name): Result {
  const r = getXattr(dirfd, name, METACOPY_XATTR, nothing)
  if (r >= 0) return 1
  return r === -ENODATA || r === -EOPNOTSUPP ? 0 : r
}

/** Marks a file being built as one that has no data of its own. */
export const markMetacopy = (dirfd: number, name: Name): Result =>
  setXattr(dirfd, name, METACOPY_XATTR, nothing)

/** Whether a node of the upper has its data below; asked once a node. */
function dataIsBelow(core: Core, node: Node): Result {
  if (node.dataBelow === undefined) {
    if (node.adrift || core.workdir?.namespace !== 'trusted') return 0
    const fd = node.home.fd()
    const r = fd < 0 ? fd : isMetacopy(fd, node.homeName)
    if (r < 0) return r
    node.dataBelow = r === 1
  }
  return node.dataBelow ? 1 : 0
}

/**
 * Opens the data of a regular file.
 *
 * @param dirfd and name as in sys/xattr
 * @returns a descriptor; -EIO where the data that a metacopy names is not there
 */
export function openData(core: Core, node: Node, dirfd: number, name: Name, flags: number): Result {
  if (name.length === 0) return open(-1, `/proc/self/fd/${dirfd}`, flags)
  const { layer } = node.home
  if (layer.writable) {
    const meta = dataIsBelow(core, node)
    if (meta !== 0) return meta < 0 ? meta : openNodeBelow(core, node, flags)
    return core.policy.noatime ? openQuietly(dirfd, name, flags) : open(dirfd, name, flags | O_NOFOLLOW)
  }
  const fd = openQuietly(dirfd, name, flags)
  if (fd < 0 || layer === core.stack.layers.at(-1)) return fd
  // A descriptor is asked in a third of the time that a name takes.
  const meta = isMetacopy(fd, '')
  if (meta === 0) return fd
  close(fd)
  return meta < 0 ? meta : openNodeBelow(core, node, flags)
}

/** Opens a file. Its access time stays where the process may say so. */
function openQuietly(dirfd: number, name: Name, flags: number): Result {
  const fd = open(dirfd, name, flags | O_NOFOLLOW | O_NOATIME)
  return fd === -EPERM ? open(dirfd, name, flags | O_NOFOLLOW) : fd
}

/** Opens the data of a node that is a metacopy. A lower shows an indexed one's under every name that has not moved up. */
function openNodeBelow(core: Core, node: Node, flags: number): Result {
  const names = node.indexed === undefined ? [] : [node, ...(node.more ?? [])]
  const alias = names.find(({ parent, container }) => parent !== undefined && !container.layer.writable)
  const fd = alias?.container.fd() ?? -1
  if (alias === undefined || fd < 0) {
    const named = node.parent !== undefined
    const container = named ? node.container : node.home
    return openBelow(core.stack, locsOf(node), container, named ? node.name : node.homeName, flags)
  }
  const meta = isMetacopy(fd, alias.name)
  if (meta < 0) return meta
  const locs = alias.parent?.locs ?? []
  return meta === 1
    ? openBelow(core.stack, locs, alias.container, alias.name, flags)
    : openQuietly(fd, alias.name, flags)
}

/** The directories that a node's name is looked up in. */
const locsOf = (node: Node): readonly Loc[] => node.parent?.locs ?? []

const scratch = new Attr()

interface Place {
  loc: Loc
  name: Name
  /** Where it was found by path: the path of what stands behind it in turn. */
  path: Name | undefined
}

/** The next layer's file that stands behind a metacopy: by its redirect, else by its name in the same directory; -errno. */
function nextBelow({ layers }: Stack, locs: readonly Loc[], here: Place): Place | undefined | Result {
  let { path } = here
  if (path === undefined) {
    for (const loc of locs.slice(locs.indexOf(here.loc) + 1)) {
      const fd = loc.fd()
      const r = fd < 0 ? fd : statAt(fd, here.name, scratch)
      if (r === 0) return { ...here, loc }
      if (!isAbsent(r)) return r
    }
    return undefined
  }
  for (const layer of layers.slice(layers.indexOf(here.loc.layer) + 1)) {
    const walked = walkRedirect(layer, path)
    if (typeof walked === 'number') return walked
    path = walked.path
    if (walked.loc !== undefined) {
      const fd = walked.loc.fd()
      const r = fd < 0 ? fd : statAt(fd, walked.name, scratch)
      if (r === 0) return { loc: walked.loc, name: walked.name, path }
      if (!isAbsent(r)) return r
    }
    if (walked.stop) return undefined
  }
  return undefined
}

/**
 * Opens the data of a metacopy, following metacopies down to the layer that has it.
 *
 * @param locs the directories that merge where the file is seen; @param container the one of them that holds it
 */
export function openBelow(
  stack: Stack,
  locs: readonly Loc[],
  container: Loc,
  name: Name,
  flags: number,
): Result {
  let here: Place = { loc: container, name, path: undefined }
  for (;;) {
    const redirect = readRedirect(here.loc, here.name)
    if (typeof redirect === 'number') return redirect
    if (redirect?.startsWith('/') || here.path !== undefined)
      here.path = redirectedPath(here.path ?? '', redirect)
    else if (redirect !== undefined) here.name = redirect
    const next = nextBelow(stack, locs, here)
    if (typeof next === 'number') return next
    const fd = next?.loc.fd() ?? -1
    if (next === undefined || fd < 0 || (scratch.mode & S_IFMT) !== S_IFREG) return -EIO
    const meta = isMetacopy(fd, next.name)
    if (meta < 0) return meta
    if (meta === 0) return openQuietly(fd, next.name, flags)
    here = next
  }
}

/**
 * Gives a node of the upper its own data, where it still lives below.
 *
 * @param data `none`: the content is to be truncated away
 * @returns 1: data has moved, so open descriptors must follow; 0: nothing to do; -errno
 */
export function completeData(core: Core, node: Node, data: 'all' | 'none'): Result {
  const below = node.isRegular ? dataIsBelow(core, node) : 0
  if (below <= 0) return below
  const dirfd = node.home.fd()
  if (dirfd < 0) return dirfd
  const name = node.homeName
  const attr = new Attr()
  let r = statAt(dirfd, name, attr)
  if (r < 0) return r
  const to = open(dirfd, name, O_WRONLY | O_NOFOLLOW | (data === 'none' ? O_TRUNC : 0))
  if (to < 0) return to
  if (data === 'all') {
    const from = openNodeBelow(core, node, O_RDONLY | O_NONBLOCK)
    r = from < 0 ? from : copyData(from, to, attr.size)
    if (from >= 0) close(from)
    if (r >= 0 && core.policy.durable) r = fdatasync(to)
    if (r >= 0) core.counters.copiedBytes += attr.size
  }
  close(to)
  if (r >= 0) r = utimensAt(dirfd, name, attr.atime, attr.atimeNs, attr.mtime, attr.mtimeNs)
  if (r >= 0) r = removeXattr(dirfd, name, METACOPY_XATTR)
  if (r < 0) return r
  node.dataBelow = false
  return 1
}

/**
 * Makes a metacopy findable under another name: notes the path of the file that has its data.
 *
 * @returns -EXDEV where the note does not fit, so that the data must be copied first
 */
export function redirectData(core: Core, node: Node): Result {
  const below = node.isRegular ? dataIsBelow(core, node) : 0
  if (below <= 0) return below
  const fd = node.home.fd()
  if (fd < 0) return fd
  const path = lowerPath(node)
  if (typeof path === 'number') return path
  const r = setXattr(fd, node.homeName, REDIRECT_XATTR, Buffer.from(path, 'latin1'))
  return r === -ENOSPC || r === -E2BIG ? -EXDEV : r
}
