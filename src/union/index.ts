/**
 * Hard links of a lower that stay together across mounts: overlayfs's `index=on`. A copied-up file with several links
 * stands as WORKDIR/index/HEX, HEX being the origin handle of its lower file. A name of it is linked into the upper when
 * that name is changed; the others stay in the lower and are led to the copy by the index.
 */

import { EEXIST, EIO, EOPNOTSUPP, RENAME_NOREPLACE } from '../abi/linux.js'
import { NLINK, ORIGIN } from '../abi/overlay.js'
import { linkAt, renameAt, unlinkAt } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import { readXattr, setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Core } from './core.js'
import { originOf } from './ino.js'
import type { Loc } from './loc.js'
import type { Dir, Node } from './node.js'
import { keepTimes, markImpure } from './upperdir.js'
import { isWhiteoutDevice } from './whiteout.js'

/** The index entry of a lower file; -EOPNOTSUPP where its filesystem gives no handles. */
function indexName(loc: Loc, name: Name): Name | Result {
  const origin = originOf(loc, name)
  return typeof origin === 'number' ? origin : origin.toString('hex')
}

const scratch = new Attr()

/**
 * The index entry that stands for a lower file already copied up.
 *
 * @param attr filled: of the copy
 * @returns undefined where there is none; -EIO where the entry says that no name is left
 */
export function findIndexed(core: Core, loc: Loc, name: Name, attr: Attr): Name | undefined | Result {
  const index = core.workdir?.index
  if (index === undefined) return undefined
  const entry = indexName(loc, name)
  if (typeof entry === 'number' || statAt(index.fd(), entry, attr) < 0) return undefined
  return isWhiteoutDevice(attr) ? -EIO : entry
}

/**
 * Moves the copy of a lower file with several links, just built in the workdir, to its place in the index.
 *
 * @returns 1; 0 where it is to be kept in the upper alone; -errno
 */
export function enterIndex(core: Core, node: Node, temporary: Name, links: number): Result {
  const { workdir } = core
  const index = workdir?.index
  if (workdir === undefined || index === undefined || links < 2) return 0
  // Only files and directories may have `user.` xattrs: xattr(7).
  if (workdir.namespace !== 'trusted' && (workdir.namespace === undefined || !node.isRegular)) return 0
  const entry = indexName(node.container, node.name)
  if (typeof entry === 'number') return entry === -EOPNOTSUPP ? 0 : entry
  let r = setXattr(workdir.fd, temporary, core.mark(NLINK), relative('L', 0))
  if (r >= 0) r = renameAt(workdir.fd, temporary, index.fd(), entry, RENAME_NOREPLACE)
  if (r < 0) return r === -EEXIST ? -EIO : r
  node.indexed = { loc: index, name: entry }
  node.extraLinks = links - 1
  return 1
}

/** Takes back `enterIndex`. */
export function withdraw(node: Node): void {
  if (node.indexed === undefined) return
  unlinkAt(node.indexed.loc.fd(), node.indexed.name)
  node.indexed = undefined
  node.extraLinks = 0
}

/**
 * Links an indexed file into the upper under a name that a lower shows. At any crash its link count is known: by the
 * lower file's while the upper's changes.
 *
 * @param parent lives in the upper
 */
export function linkUp(core: Core, node: Node, parent: Dir, name: Name): Result {
  const { indexed } = node
  const link = node.parent === parent && node.name === name ? node : linkOf(node, parent, name)
  if (indexed === undefined || link === undefined) return -EIO
  const index = indexed.loc.fd()
  let r = statAt(index, indexed.name, scratch)
  const links = scratch.nlink + node.extraLinks
  const from = link.container.fd()
  if (r >= 0) r = from < 0 ? from : statAt(from, name, scratch)
  if (r >= 0) r = noteLinks(core, node, relative('L', links - scratch.nlink))
  const to = parent.upperLoc.fd()
  if (r >= 0) r = to < 0 ? to : markImpure(core, parent.upperLoc)
  if (r >= 0) r = keepTimes(to, () => linkAt(index, indexed.name, to, name))
  if (r < 0) return r
  r = noteLinks(core, node, relative('U', node.extraLinks - 1))
  if (r < 0) {
    unlinkAt(to, name)
    return r
  }
  node.extraLinks--
  link.container = parent.upperLoc
  parent.listing?.copiedUp(name, parent.upperLoc)
  return 0
}

const linkOf = (node: Node, parent: Dir, name: Name) =>
  node.more?.find((link) => link.parent === parent && link.name === name)

/** Whether links of a file are counted in the index: it is there, or would be once copied up. */
export const isCounted = (core: Core, node: Node): boolean =>
  node.indexed !== undefined ||
  (core.workdir?.index !== undefined && node.linkKeys !== undefined && !node.inUpper)

const relative = (to: 'U' | 'L', links: number): Buffer => Buffer.from(`${to}${links < 0 ? '' : '+'}${links}`)

const noteLinks = (core: Core, { indexed }: Node, value: Buffer): Result =>
  indexed === undefined ? -EIO : setXattr(indexed.loc.fd(), indexed.name, core.mark(NLINK), value)

/**
 * How many links are shown of an indexed file beyond those on its disk.
 *
 * @param lowerLinks of the lower file, where it is at hand; @param links of the copy
 */
export function extraLinks(
  core: Core,
  index: Loc,
  entry: Name,
  links: number,
  lowerLinks: number | undefined,
): number {
  const value = readXattr(index.fd(), entry, core.mark(NLINK))
  const match = typeof value === 'number' ? null : /^([UL])([+-]\d{1,9})$/.exec(value.toString('latin1'))
  const shown = Number(match?.[2])
  if (match?.[1] === 'U') return shown
  // An interrupted copy-up: the upper's links are not those that were noted.
  return match !== null && lowerLinks !== undefined ? lowerLinks + shown - links : 0
}

/** Fills what the index says of a file that was found in the upper with several links. @param attr its own, on disk */
export function readIndexed(core: Core, node: Node, loc: Loc, name: Name, attr: Attr): void {
  const index = core.workdir?.index
  if (index === undefined) return
  const origin = readXattr(loc.fd(), name, core.mark(ORIGIN))
  if (typeof origin === 'number') return
  const entry = origin.toString('hex')
  if (statAt(index.fd(), entry, scratch) < 0 || scratch.ino !== attr.ino || scratch.dev !== attr.dev) return
  node.indexed = { loc: index, name: entry }
  node.extraLinks = extraLinks(core, index, entry, attr.nlink, undefined)
}

/** Removes the entry of a file whose last name in the union has gone. */
export function leaveIndex(node: Node): Result {
  const { indexed } = node
  if (indexed === undefined) return 0
  const { loc, name } = indexed
  if (statAt(loc.fd(), name, scratch) < 0 || scratch.nlink + node.extraLinks > 0) return 0
  node.container = loc
  node.indexed = undefined
  return unlinkAt(loc.fd(), name)
}
