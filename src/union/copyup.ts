/** The second verb: make a node live in the upper, parents first, built in the workdir and renamed into place. */

import {
  EAGAIN,
  EEXIST,
  EIO,
  ENODATA,
  ENOTDIR,
  EOPNOTSUPP,
  EROFS,
  ESTALE,
  EXDEV,
  O_ACCMODE,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  PATH_MAX,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  XATTR_CREATE,
} from '../abi/linux.js'
import { IMPURE, ORIGIN } from '../abi/overlay.js'
import { close, ftruncate, open, replace } from '../sys/file.js'
import { mkdirAt, mknodAt, readlinkAt, renameAt, symlinkAt } from '../sys/name.js'
import { stat, statAt, utimensAt } from '../sys/stat.js'
import { setXattr } from '../sys/xattr.js'
import { Attr, type Job, type Name, PARKED, type Result } from '../vfs.js'
import type { Core } from './core.js'
import { enterIndex } from './index.js'
import { originOf } from './ino.js'
import { runJob } from './job.js'
import { enlistCopy, joinKnownNames } from './links.js'
import type { Loc } from './loc.js'
import { completeData, markMetacopy, openData, redirectData } from './metacopy.js'
import { copyMetadata } from './metadata.js'
import { Dir, type Node } from './node.js'
import { discard, type Workdir } from './workdir.js'

/** How much of a regular file a change needs in the upper: its data, only its metadata, or neither data nor size. */
export type CopyUpData = 'all' | 'meta' | 'none'

/**
 * Makes a node live in the upper. Its owner as shown, mode, times, xattrs and number stay; the parent's times too.
 * On error nothing has changed.
 *
 * @param data `none`: the content is about to be truncated away, so none is copied; `meta`: data may stay below, where
 *   metacopy is on
 */
export function copyUp(core: Core, node: Node, data: CopyUpData = 'all'): Result {
  if (node.inUpper) {
    const r = data === 'meta' ? 0 : completeData(core, node, data)
    return r === 1 ? moveHandles(node) : r
  }
  const workdir = core.workdir
  if (workdir === undefined) return -EROFS
  const parent = node.parent
  if (parent === undefined) return node instanceof Dir ? -ESTALE : copyUpOrphan(core, workdir, node, data)
  const up = copyUp(core, parent)
  if (up < 0) return up
  const to = parent.upperLoc
  const temporary = node.copying?.temporary ?? workdir.temporary()
  const built = build(core, workdir, node, temporary, data)
  if (built === PARKED) return built
  if (built < 0) {
    discard(workdir, temporary)
    return built
  }
  const toFd = to.fd()
  let r = toFd < 0 ? toFd : markImpure(core, to)
  if (r >= 0 && !(node instanceof Dir)) r = enterIndex(core, node, temporary, source.nlink)
  if (r >= 0) r = keepTimes(toFd, () => renameAt(workdir.fd, temporary, toFd, node.name, RENAME_NOREPLACE))
  if (r < 0) {
    discard(workdir, temporary)
    return r === -EEXIST ? -EIO : r
  }
  return settle(core, node, parent, to)
}

/** Copy-up of a file that gets a new name: data may stay below where a redirect can lead to it. */
export function raiseRenamed(core: Core, node: Node): Result {
  const r = copyUp(core, node, core.policy.redirect ? 'meta' : 'all')
  if (r < 0) return r
  const redirected = redirectData(core, node)
  return redirected === -EXDEV ? copyUp(core, node, 'all') : redirected
}

/** Points a node, built from `source`, at its new place in the upper. */
function settle(core: Core, node: Node, parent: Dir, to: Loc): Result {
  node.container = to
  parent.listing?.copiedUp(node.name, to)
  core.counters.copyUps++
  if (node instanceof Dir) {
    node.locs = [to.child(node.name), ...node.locs]
    ;(node.locs[0] as Loc).impure = false
    node.defaultAcl = undefined
    return 0
  }
  if (source.nlink > 1) {
    node.extraLinks += source.nlink - (node.indexed === undefined ? 1 : 2)
    const fd = to.fd()
    if (fd >= 0 && statAt(fd, node.name, source) === 0) {
      core.table.registerLink(node, source.dev, source.ino)
      enlistCopy(node, parent, node.name, to, source)
    }
  }
  const moved = node.dataBelow ? 0 : moveHandles(node)
  return moved < 0 ? moved : joinKnownNames(core, node)
}

/** Puts the copied-up file behind every descriptor that is open on the lower one. */
function moveHandles(node: Node): Result {
  for (const handle of node.handles ?? []) {
    const up = node.container.fd()
    const fd =
      node.anchor >= 0
        ? open(-1, `/proc/self/fd/${node.anchor}`, handle.flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW))
        : up < 0
          ? up
          : open(up, node.name, (handle.flags & ~(O_CREAT | O_EXCL)) | O_NOFOLLOW)
    if (fd < 0) return fd
    const r = replace(fd, handle.fd)
    close(fd)
    if (r < 0) return r
  }
  return 0
}

/** A file without a name: its copy has none either. */
function copyUpOrphan(core: Core, workdir: Workdir, node: Node, data: CopyUpData): Result {
  const temporary = node.copying?.temporary ?? workdir.temporary()
  let r = build(core, workdir, node, temporary, data)
  if (r === PARKED) return r
  const fd = r < 0 ? r : open(workdir.fd, temporary, O_PATH | O_NOFOLLOW)
  discard(workdir, temporary)
  if (fd < 0) return fd
  if (node.anchor >= 0) close(node.anchor)
  node.anchor = fd
  node.container = (core.stack.upper as { root: Loc }).root
  r = moveHandles(node)
  core.counters.copyUps++
  return r
}

const source = new Attr()
const target = Buffer.alloc(PATH_MAX)

/** Builds the copy of a lower node in the workdir. */
function build(core: Core, workdir: Workdir, node: Node, temporary: Name, data: CopyUpData): Result {
  if (node instanceof Dir) return buildDir(core, workdir, node, temporary)
  const anchored = node.parent === undefined
  const from = anchored ? (node.handles?.[0]?.fd ?? node.copying?.from ?? node.anchor) : node.container.fd()
  const name = anchored ? '' : node.name
  if (from < 0) return anchored ? -ESTALE : from
  const r = name.length === 0 ? stat(from, source) : statAt(from, name, source)
  if (r < 0) return r
  if ((source.mode & S_IFMT) !== node.type) return -EIO
  if (node.type === S_IFREG) return buildFile(core, workdir, node, from, name, temporary, data)
  let made: Result
  if (node.type === S_IFLNK) {
    const length = readlinkAt(from, name, target)
    if (length < 0) return length
    made = symlinkAt(target.toString('latin1', 0, length), workdir.fd, temporary)
  } else made = mknodAt(workdir.fd, temporary, source.mode, source.rdev)
  if (made < 0) return made
  const kept = copyMetadata(node.container.layer, from, name, source, core.stack.upper, workdir.fd, temporary)
  // Only files and directories may have `user.` xattrs: xattr(7).
  const marked = !anchored && workdir.namespace !== 'user'
  return kept < 0 || !marked ? kept : setOrigin(core, workdir, temporary, node.container, node.name)
}

function buildDir(core: Core, workdir: Workdir, dir: Dir, temporary: Name): Result {
  const loc = dir.locs[0] as Loc
  const from = loc.fd()
  if (from < 0) return from
  let r = stat(from, source)
  if (r < 0) return r
  if ((source.mode & S_IFMT) !== S_IFDIR) return -ENOTDIR
  r = mkdirAt(workdir.fd, temporary, 0o700)
  if (r < 0) return r
  r = setOrigin(core, workdir, temporary, loc, '')
  return r < 0 ? r : copyMetadata(loc.layer, from, '.', source, core.stack.upper, workdir.fd, temporary)
}

function buildFile(
  core: Core,
  workdir: Workdir,
  node: Node,
  from: number,
  name: Name,
  temporary: Name,
  data: CopyUpData,
): Result {
  const to = node.copying?.to ?? open(workdir.fd, temporary, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600)
  if (to < 0) return to
  let r: Result = 0
  const below = data === 'meta' && core.policy.metacopy && source.size > 0 && name.length > 0
  const whole = data !== 'none' && !below && source.size > 0
  if (below) {
    r = ftruncate(to, source.size)
    if (r >= 0) r = markMetacopy(to, '')
  } else if (whole) {
    r = fill(core, node, from, name, to, temporary)
    if (r === PARKED) return r
  }
  // Without an index, a hard link whose other names stay below notes no origin: both would show one number for two contents.
  if (r >= 0 && name.length > 0 && (source.nlink === 1 || workdir.indexFd >= 0))
    r = setOrigin(core, workdir, temporary, node.container, name)
  if (r >= 0)
    r = copyMetadata(node.container.layer, from, name, source, core.stack.upper, workdir.fd, temporary)
  if (r >= 0) node.dataBelow = below
  close(to)
  return r
}

/** Files of this size on are copied by a helper thread: some milliseconds of work. */
const PARK_BYTES = 4 * 1024 * 1024

/** Copies the data of `source` and sees it to the disk. */
function fill(core: Core, node: Node, from: number, name: Name, to: number, temporary: Name): Result {
  const { helpers } = core
  const going = node.copying
  if (going !== undefined && helpers !== undefined) {
    const r = helpers.take(going.job)
    if (r === PARKED) return r
    node.copying = undefined
    close(going.from)
    if (r >= 0) core.counters.copiedBytes += source.size
    return r
  }
  const fd = openData(core, node, from, name, O_RDONLY | O_NONBLOCK)
  if (fd < 0) return fd
  const job: Job = { kind: 'copy', from: fd, to, size: source.size, sync: !core.policy.volatile }
  const id = source.size >= PARK_BYTES && helpers !== undefined ? helpers.start(job) : -EAGAIN
  if (id >= 0) {
    node.copying = { job: id, temporary, from: fd, to }
    return PARKED
  }
  const r = runJob(job)
  close(fd)
  if (r >= 0) core.counters.copiedBytes += source.size
  return r
}

/** Errors of the origin mark that leave the file whole: it then shows another number after a remount. */
const NO_ORIGIN: ReadonlySet<Result> = new Set([-EOPNOTSUPP, -ENODATA])

/** Notes in the copy which lower file it came from, so that its number stays the same at the next mount. */
function setOrigin(core: Core, workdir: Workdir, temporary: Name, loc: Loc, name: Name): Result {
  if (workdir.namespace === undefined) return 0
  const origin = originOf(loc, name)
  if (typeof origin === 'number') return NO_ORIGIN.has(origin) ? 0 : origin
  return setXattr(workdir.fd, temporary, core.mark(ORIGIN), origin)
}

/** Marks a directory of the upper as one whose entries may note an origin: overlayfs's `impure`. */
export function markImpure(core: Core, loc: Loc): Result {
  if (loc.impure === true || core.workdir?.namespace === undefined) return 0
  const fd = loc.fd()
  if (fd < 0) return fd
  const r = setXattr(fd, '.', core.mark(IMPURE), Buffer.from('y'), XATTR_CREATE)
  if (r < 0 && r !== -EEXIST) return r
  loc.impure = true
  return 0
}

const times = new Attr()

/** Runs a change to a directory of the upper that users do not see as one: its times stay. */
export function keepTimes(dirfd: number, change: () => Result): Result {
  const before = stat(dirfd, times)
  const { atime, atimeNs, mtime, mtimeNs } = times
  const r = change()
  if (r < 0 || before < 0) return r
  const set = utimensAt(dirfd, '.', atime, atimeNs, mtime, mtimeNs)
  return set < 0 ? set : r
}

/** Whether an open mode writes. */
export const writes = (flags: number): boolean => (flags & O_ACCMODE) !== O_RDONLY
