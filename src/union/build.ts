/** Builds the copy of a lower file in the workdir: data, metadata and the note of where it came from. */

import {
  EAGAIN,
  EIO,
  ENOTDIR,
  ESTALE,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  PATH_MAX,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../abi/linux.js'
import { close, ftruncate, open } from '../sys/file.js'
import { mkdirAt } from '../sys/name.js'
import { Attr, type Job, type Name, PARKED, type Result } from '../vfs.js'
import { copyWhile } from './copydata.js'
import type { Core } from './core.js'
import { runJob } from './job.js'
import type { Layer } from './layer.js'
import type { Loc } from './loc.js'
import { markMetacopy, openData } from './metacopy.js'
import { copyMetadata, dropStrange } from './metadata.js'
import { Dir, type Node } from './node.js'
import { setOrigin } from './origin.js'
import { makeIn, readLinkIn, statIn } from './override.js'
import type { Workdir } from './workdir.js'

/** How much of a regular file a change needs in the upper: its data, only its metadata, or neither data nor size. */
export type CopyUpData = 'all' | 'meta' | 'none'

/** Attributes on disk of the file last built from. */
export const source = new Attr()
const target = Buffer.alloc(PATH_MAX)

/** Builds the copy of a lower node in the workdir. @returns PARKED while a helper thread copies its data */
export function build(core: Core, workdir: Workdir, node: Node, temporary: Name, data: CopyUpData): Result {
  if (node instanceof Dir) return buildDir(core, workdir, node, temporary)
  const anchored = node.parent === undefined
  const from = anchored ? node.lifeline : node.container.fd()
  const name = anchored ? '' : node.name
  if (from < 0) return anchored ? -ESTALE : from
  const { layer } = node.container
  const r = statIn(layer, from, name, source)
  if (r < 0) return r
  if ((source.mode & S_IFMT) !== node.type) return -EIO
  if (node.type === S_IFREG) return buildFile(core, workdir, node, from, name, temporary, data)
  const length = node.type === S_IFLNK ? readLinkIn(layer, from, name, target) : 0
  if (length < 0) return length
  const text = target.toString('latin1', 0, length)
  const made = makeIn(core.stack.upper as Layer, workdir.fd, temporary, source.mode, source.rdev, text)
  if (made < 0) return made
  const kept = copyMetadata(layer, from, name, source, core.stack.upper, workdir.fd, temporary)
  // Only files and directories may have `user.` xattrs: xattr(7).
  const marked = !anchored && workdir.namespace !== 'user' && mayNoteOrigin(workdir)
  return kept < 0 || !marked ? kept : setOrigin(core, workdir.fd, temporary, node.container, node.name)
}

/** Without an index, a hard link whose other names stay below notes no origin: both would show one number for two contents. */
const mayNoteOrigin = (workdir: Workdir): boolean => source.nlink === 1 || workdir.index !== undefined

function buildDir(core: Core, workdir: Workdir, dir: Dir, temporary: Name): Result {
  const loc = dir.locs[0] as Loc
  const from = loc.fd()
  if (from < 0) return from
  let r = statIn(loc.layer, from, '.', source)
  if (r < 0) return r
  if ((source.mode & S_IFMT) !== S_IFDIR) return -ENOTDIR
  r = mkdirAt(workdir.fd, temporary, 0o700)
  if (r < 0) return r
  r = setOrigin(core, workdir.fd, temporary, loc, '')
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
  const to = begin(core, workdir, node, temporary)
  if (to < 0) return to
  let r: Result = 0
  const below =
    data === 'meta' && core.policy.metacopy && source.size > 0 && name.length > 0 && node.lent === undefined
  const whole = data !== 'none' && !below && source.size > 0
  if (below) {
    r = ftruncate(to, source.size)
    if (r >= 0) r = markMetacopy(to, '')
  } else if (whole) {
    r = fill(core, node, from, name, to, temporary)
    if (r === PARKED) return r
  }
  if (r >= 0 && name.length > 0 && mayNoteOrigin(workdir)) r = setOrigin(core, to, '', node.container, name)
  if (r >= 0)
    r = copyMetadata(node.container.layer, from, name, source, core.stack.upper, workdir.fd, temporary)
  if (r >= 0) node.dataBelow = below
  close(to)
  return r
}

/** A descriptor of the copy to be built: of a new file; or of the one that overlayfs makes where the kernel reads by way of it. */
function begin(core: Core, workdir: Workdir, node: Node, temporary: Name): Result {
  const { lent, copying } = node
  if (copying !== undefined) return copying.to
  if (lent === undefined) return open(workdir.fd, temporary, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600)
  let r = lent.copyTo(core.helpers, workdir.fd, temporary)
  const to = r < 0 ? r : open(workdir.fd, temporary, O_RDWR | O_NOFOLLOW)
  if (to < 0) return to
  r = dropStrange(node.container.layer, core.stack.upper as Layer, to)
  if (r >= 0) return to
  close(to)
  return r
}

/** Files of this size on are copied by a helper thread where somebody else waits meanwhile: some milliseconds of work. */
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
  const { size } = source
  const dense = source.blocks * 512 >= size
  const sync = core.policy.durable
  const large = size >= PARK_BYTES ? helpers : undefined
  let done: Result = node.lent === undefined ? 0 : size
  if (done === 0 && large !== undefined && dense) done = copyWhile(() => !large.awaited(), fd, to, size)
  let r: Result = done
  if (done >= 0 && (done < size || sync)) {
    const job: Job = { kind: 'copy', from: fd, to, size, dense, done, sync }
    const id = large?.start(job) ?? -EAGAIN
    if (id >= 0) {
      node.copying = { job: id, temporary, from: fd, to }
      return PARKED
    }
    r = runJob(job)
  }
  close(fd)
  if (r >= 0) core.counters.copiedBytes += size
  return r < 0 ? r : 0
}
