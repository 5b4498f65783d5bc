/** Changes to a directory of the upper that users do not see as such. */

import { EEXIST, XATTR_CREATE } from '../abi/linux.js'
import { IMPURE } from '../abi/overlay.js'
import { stat, utimensAt } from '../sys/stat.js'
import { setXattr } from '../sys/xattr.js'
import { Attr, type Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Loc } from './loc.js'

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
