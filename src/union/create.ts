/** New names: create, mknod, mkdir, symlink, link, tmpfile. Each is copy-up of the directory, then publish. */

import {
  dtOfMode,
  ENOENT,
  EPERM,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_TMPFILE,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from '../abi/linux.js'
import { ACL_ACCESS, OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { close, open } from '../sys/file.js'
import { linkAt, linkFd, renameAt, unlinkAt } from '../sys/name.js'
import { setXattr } from '../sys/xattr.js'
import type { Caller, Entry, Name, Opened, Result } from '../vfs.js'
import { copyUp, raiseRenamed } from './copyup.js'
import type { Core } from './core.js'
import { opened, ourFlags } from './file.js'
import { Birth, inherit } from './inherit.js'
import type { Layer } from './layer.js'
import { Listing } from './listing.js'
import { enter, remember } from './lookup.js'
import { addName, Dir, Node, Stamp } from './node.js'
import { makeIn, setIdentity, statIn } from './override.js'
import { bestow, prepare, publish } from './publish.js'
import type { UpperWhiteout } from './resolve.js'
import { markImpure } from './upperdir.js'
import { discard, type Workdir } from './workdir.js'

const birth = new Birth()

/** mkdir, mknod and symlink: the three that build an object without opening it. @param target of a symlink, `''` otherwise */
export function make(
  core: Core,
  c: Caller,
  parent: Dir,
  name: Name,
  mode: number,
  rdev: number,
  target: Name,
  out: Entry,
): Result {
  // A device 0/0 is a whiteout; a file of that kind cannot be told from one.
  if ((mode & S_IFMT) === S_IFCHR && rdev === 0) return -EPERM
  const whiteout = prepare(core, parent, name)
  if (typeof whiteout === 'number') return whiteout
  let r = inherit(c, parent, mode, birth)
  if (r < 0) return r
  const workdir = core.workdir as Workdir
  const direct = whiteout === 'none' && isOwn(core, birth)
  const dirfd = direct ? parent.upperLoc.fd() : workdir.fd
  const at = direct ? name : workdir.temporary()
  if (dirfd < 0) return dirfd
  r = makeIn(parent.upperLoc.layer, dirfd, at, direct ? birth.mode : birth.mode & ~0o7000, rdev, target)
  if (r < 0) return r
  if (!direct) {
    r = bestow(core, workdir, at, birth, rdev)
    if (r < 0) discard(workdir, at)
    else r = publish(core, workdir, at, parent, name, mode, whiteout)
    if (r < 0) return r
  }
  return introduce(core, parent, name, mode, out)
}

/**
 * Whether a file made in place is right at once: the daemon's own ids, and no ACL or set-id bit that the process that
 * creates it could lose.
 */
const isOwn = (core: Core, b: Birth): boolean =>
  core.stack.upper?.override === undefined &&
  b.uid === core.uid &&
  b.gid === core.gid &&
  b.accessAcl === undefined &&
  (b.mode & 0o6000) === 0

/** Enters what has just been made in the upper as a node, and answers it. */
function introduce(core: Core, parent: Dir, name: Name, mode: number, out: Entry): Result {
  const upper = parent.upperLoc
  const fd = upper.fd()
  if (fd < 0) return fd
  const r = statIn(upper.layer, fd, name, out.attr)
  if (r < 0) return r
  const id = core.table.nextId()
  let node: Node
  if ((mode & S_IFMT) === S_IFDIR) {
    const loc = upper.child(name)
    loc.made()
    const dir = new Dir(id, upper, [loc])
    core.keepListing(dir, new Listing())
    node = dir
  } else {
    node = new Node(id, mode, upper)
    node.dataBelow = false
  }
  node.ino = core.numbers.shown(out.attr.dev, out.attr.ino)
  parent.listing?.add(name, out.attr.ino, dtOfMode(out.attr.mode), upper)
  enter(core, node, parent, name, upper)
  core.show(node, out.attr)
  return remember(node, out)
}

/** Atomic create and open. */
export function create(
  core: Core,
  c: Caller,
  parent: Dir,
  name: Name,
  mode: number,
  flags: number,
  entry: Entry,
  out: Opened,
): Result {
  const whiteout = prepare(core, parent, name)
  if (typeof whiteout === 'number') return whiteout
  const fullMode = (mode & ~S_IFMT) | S_IFREG
  let r = inherit(c, parent, fullMode, birth)
  if (r < 0) return r
  const workdir = core.workdir as Workdir
  const quiet = core.policy.noatime ? O_NOATIME : 0
  const open2 = (ourFlags(flags) & ~O_EXCL) | O_CREAT | O_EXCL | O_NOFOLLOW | quiet
  let fd: number
  if (whiteout === 'none' && isOwn(core, birth)) {
    const dirfd = parent.upperLoc.fd()
    fd = dirfd < 0 ? dirfd : open(dirfd, name, open2, birth.mode & 0o7777)
    if (fd < 0) return fd
  } else {
    const temporary = workdir.temporary()
    fd = open(workdir.fd, temporary, open2, 0o600)
    if (fd < 0) return fd
    r = bestow(core, workdir, temporary, birth)
    if (r < 0) discard(workdir, temporary)
    else r = publish(core, workdir, temporary, parent, name, fullMode, whiteout)
    if (r < 0) {
      close(fd)
      return r
    }
  }
  r = introduce(core, parent, name, fullMode, entry)
  if (r < 0) {
    close(fd)
    return r
  }
  const node = core.table.get(entry.node) as Node
  node.stamp = new Stamp(entry.attr.mtime, entry.attr.mtimeNs)
  return opened(core, node, fd, open2, out, entry.attr)
}

/** O_TMPFILE: an anchored file without a name. */
export function tmpfile(
  core: Core,
  c: Caller,
  parent: Dir,
  mode: number,
  flags: number,
  entry: Entry,
  out: Opened,
): Result {
  if (parent.removed) return -ENOENT
  let r = copyUp(core, parent)
  if (r < 0) return r
  r = inherit(c, parent, (mode & ~S_IFMT) | S_IFREG, birth)
  if (r < 0) return r
  const workdir = core.workdir as Workdir
  const opening = (ourFlags(flags) & ~(O_EXCL | O_DIRECTORY)) | O_TMPFILE
  const fd = open(workdir.fd, '.', opening, 0o600)
  if (fd < 0) return fd
  r = bestowOpen(parent.upperLoc.layer, fd, birth)
  if (r >= 0) r = statIn(parent.upperLoc.layer, fd, '', entry.attr)
  if (r < 0) {
    close(fd)
    return r
  }
  const node = new Node(core.table.nextId(), S_IFREG, parent.upperLoc)
  node.ino = core.numbers.shown(entry.attr.dev, entry.attr.ino)
  core.table.put(node)
  core.show(node, entry.attr)
  remember(node, entry)
  return opened(core, node, fd, opening, out, entry.attr)
}

function bestowOpen(upper: Layer, fd: number, b: Birth): Result {
  let r = setIdentity(upper, fd, '', b.uid, b.gid, b.mode, 0)
  if (r >= 0 && b.accessAcl !== undefined) r = setXattr(fd, '', ACL_ACCESS, b.accessAcl)
  return r
}

/** One more name for a file, copied up first. */
export function link(core: Core, node: Node, parent: Dir, name: Name, out: Entry): Result {
  if (node instanceof Dir) return -EPERM
  const whiteout = prepare(core, parent, name)
  if (typeof whiteout === 'number') return whiteout
  let r = raiseRenamed(core, node)
  if (r < 0) return r
  const workdir = core.workdir as Workdir
  const to = parent.upperLoc.fd()
  if (to < 0) return to
  r = linkTo(workdir, node, to, name, whiteout)
  if (r < 0) return r
  const dtype = dtOfMode(node.type)
  addName(node, parent, name, parent.upperLoc)
  r = statIn(parent.upperLoc.layer, to, name, out.attr)
  if (r < 0) return r
  core.table.registerLink(node, out.attr.dev, out.attr.ino)
  parent.listing?.add(name, out.attr.ino, dtype, parent.upperLoc)
  // A copied-up file notes its origin, which is read only in directories that say they hold such.
  if (core.numbers.shown(out.attr.dev, out.attr.ino) !== node.ino) {
    r = markImpure(core, parent.upperLoc)
    if (r < 0) return r
  }
  core.show(node, out.attr)
  return remember(node, out)
}

function linkTo(workdir: Workdir, node: Node, to: number, name: Name, whiteout: UpperWhiteout): Result {
  const make = (dirfd: number, as: Name): Result => {
    if (node.adrift) {
      const fd = node.lifeline
      return fd < 0 ? -ENOENT : linkFd(fd, dirfd, as)
    }
    const from = node.home.fd()
    return from < 0 ? from : linkAt(from, node.homeName, dirfd, as)
  }
  if (whiteout !== 'object') {
    const r = make(to, name)
    if (r === 0 && whiteout === 'oci') unlinkAt(to, OCI_WHITEOUT_PREFIX + name)
    return r
  }
  const temporary = workdir.temporary()
  let r = make(workdir.fd, temporary)
  if (r < 0) return r
  r = renameAt(workdir.fd, temporary, to, name)
  if (r < 0) discard(workdir, temporary)
  return r
}
