/** Changes to a directory of the upper that users do not see as such. */

import { EACCES, EEXIST, O_DIRECTORY, O_NOFOLLOW, O_PATH, XATTR_CREATE } from '../abi/linux.js'
import { IMPURE } from '../abi/overlay.js'
import { close, open } from '../sys/file.js'
import { chmodPath, stat, utimensAt } from '../sys/stat.js'
import { setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Loc } from './loc.js'

/** Marks a directory of the upper as one whose entries may note an origin: overlayfs's `impure`. */
export function markImpure(core: Core, loc: Loc): Result {
  if (loc.impure === true || core.workdir?.namespace === undefined) return 0
  const fd = loc.fd()
  if (fd < 0) return fd
  const r = letIn(fd, () => setXattr(fd, '.', core.mark(IMPURE), Buffer.from('y'), XATTR_CREATE))
  if (r < 0 && r !== -EEXIST) return r
  loc.impure = true
  return 0
}

const now = new Attr()

/**
 * Runs a change to a directory of the upper that its mode may forbid. Without privilege that binds the daemon too, though
 * the caller asked for a change elsewhere: the owner lets himself in for as long as it takes.
 */
export function letIn(dirfd: number, change: () => Result): Result {
  const r = change()
  if (r !== -EACCES || stat(dirfd, now) < 0) return r
  const mode = now.mode & 0o7777
  if ((mode & 0o300) === 0o300 || chmodPath(dirfd, mode | 0o300) < 0) return r
  const again = change()
  const back = chmodPath(dirfd, mode)
  return back < 0 ? back : again
}

/** The same for a directory, by name, that is moved: its `..` is written. */
export function letMove(dirfd: number, name: Name, move: () => Result): Result {
  const r = move()
  if (r !== -EACCES) return r
  const fd = open(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  if (fd < 0) return fd
  const again = letIn(fd, move)
  close(fd)
  return again
}

const times = new Attr()

/** Runs a change to a directory of the upper that users do not see as one: its times stay. */
export function keepTimes(dirfd: number, change: () => Result): Result {
  const before = stat(dirfd, times)
  const { atime, atimeNs, mtime, mtimeNs } = times
  const r = letIn(dirfd, change)
  if (r < 0 || before < 0) return r
  const set = utimensAt(dirfd, '.', atime, atimeNs, mtime, mtimeNs)
  return set < 0 ? set : r
}
