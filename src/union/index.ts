/**
 * Hard links of a lower that stay together across mounts: overlayfs's `index=on`. A copied-up file with several
 * links is also linked as WORKDIR/index/HEX, HEX being the origin handle of its lower file; the other names find it there.
 */

import { EEXIST, EIO, ENODATA, ENOENT, EOPNOTSUPP } from '../abi/linux.js'
import { NLINK, ORIGIN } from '../abi/overlay.js'
import { linkAt, unlinkAt } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import { readXattr, setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Core } from './core.js'
import { originOf } from './ino.js'
import type { Loc } from './loc.js'
import type { Node } from './node.js'

/** The index entry of a lower file; -EOPNOTSUPP where its filesystem gives no handles. */
function indexName(loc: Loc, name: Name): Name | Result {
  const origin = originOf(loc, name)
  return typeof origin === 'number' ? origin : origin.toString('hex')
}

const scratch = new Attr()

/** The index entry that stands for a lower file already copied up; undefined where there is none. Fills `attr`. */
export function findIndexed(core: Core, loc: Loc, name: Name, attr: Attr): Name | undefined {
  const index = core.workdir?.indexFd ?? -1
  if (index < 0) return undefined
  const entry = indexName(loc, name)
  if (typeof entry === 'number') return undefined
  return statAt(index, entry, attr) === 0 ? entry : undefined
}

/** Enters a copy that has just been built in the workdir, not yet published, as that of a lower file with several links. */
export function enterIndex(core: Core, node: Node, temporary: Name, links: number): Result {
  const workdir = core.workdir
  if (workdir === undefined || workdir.indexFd < 0 || links < 2) return 0
  const entry = indexName(node.container, node.name)
  if (typeof entry === 'number') return entry === -EOPNOTSUPP ? 0 : entry
  let r = setXattr(workdir.fd, temporary, core.mark(NLINK), relative(links - 2))
  if (r >= 0) r = linkAt(workdir.fd, temporary, workdir.indexFd, entry)
  if (r < 0) return r === -EEXIST ? -EIO : r
  node.indexed = entry
  return 0
}

/** Fills what the upper notes of a file with several links: its index entry, and the links shown beyond the upper's own. */
export function readIndexed(core: Core, node: Node, loc: Loc, name: Name): void {
  if ((core.workdir?.indexFd ?? -1) < 0) return
  const fd = loc.fd()
  const origin = readXattr(fd, name, core.mark(ORIGIN))
  const links = readXattr(fd, name, core.mark(NLINK))
  if (typeof origin === 'number' || typeof links === 'number') return
  const match = /^U([+-]\d{1,9})$/.exec(links.toString('latin1'))
  if (match === null) return
  node.indexed = origin.toString('hex')
  node.extraLinks = Number(match[1])
}

/** Notes the same anew after a name has moved into the upper. */
export function writeExtraLinks(core: Core, node: Node): Result {
  if ((core.workdir?.indexFd ?? -1) < 0 || node.parent === undefined) return 0
  const r = setXattr(node.container.fd(), node.name, core.mark(NLINK), relative(node.extraLinks))
  return r === -ENODATA || r === -EOPNOTSUPP ? 0 : r
}

const relative = (links: number): Buffer => Buffer.from(`U${links < 0 ? '' : '+'}${links}`)

/** Gives a file of the index one more name in the upper. */
export function linkIndexed(core: Core, entry: Name, dirfd: number, name: Name): Result {
  const index = core.workdir?.indexFd ?? -1
  return index < 0 ? -ENOENT : linkAt(index, entry, dirfd, name)
}

/** Removes the entry of a file whose last name in the union has gone. */
export function leaveIndex(core: Core, node: Node): Result {
  const index = core.workdir?.indexFd ?? -1
  if (index < 0 || node.indexed === undefined) return 0
  if (statAt(index, node.indexed, scratch) < 0 || scratch.nlink + node.extraLinks > 0) return 0
  return unlinkAt(index, node.indexed)
}
