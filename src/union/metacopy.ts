/** Files whose metadata lives in one layer and whose data still in one below: `overlay.metacopy` (overlayfs.rst). */

import { EIO, ENODATA, EOPNOTSUPP, O_NOFOLLOW, S_IFMT, S_IFREG } from '../abi/linux.js'
import { METACOPY, overlayPrefix } from '../abi/overlay.js'
import { open } from '../sys/file.js'
import { statAt } from '../sys/stat.js'
import { getXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Loc } from './loc.js'
import type { Node } from './node.js'
import { readRedirect, walkRedirect } from './redirect.js'

const METACOPY_XATTR = overlayPrefix('trusted') + METACOPY
const nothing = Buffer.alloc(0)

/** Whether a regular file's data lives in a layer below its metadata. */
function isMetacopy(dirfd: number, name: Name): boolean | Result {
  const r = getXattr(dirfd, name, METACOPY_XATTR, nothing)
  if (r >= 0) return true
  return r === -ENODATA || r === -EOPNOTSUPP ? false : r
}

/**
 * Opens the data of a regular file.
 *
 * @param dirfd and name as in sys/xattr
 * @returns a descriptor; -EIO where the data that a metacopy names is not there
 */
export function openData(core: Core, node: Node, dirfd: number, name: Name, flags: number): Result {
  if (name.length === 0) return open(-1, `/proc/self/fd/${dirfd}`, flags)
  if (node.container.layer !== core.stack.layers.at(-1)) {
    const meta = isMetacopy(dirfd, name)
    if (typeof meta === 'number') return meta
    if (meta) return openBelow(core, node.container, name, flags)
  }
  return open(dirfd, name, flags | O_NOFOLLOW)
}

const scratch = new Attr()

/** Follows metacopies down to the layer that has the data. */
function openBelow(core: Core, container: Loc, name: Name, flags: number): Result {
  const layers = core.stack.layers
  const above = container.path()
  let path = `/${above.length === 0 ? name : `${above}/${name}`}`
  path = redirected(container, name, path)
  for (const layer of layers.slice(layers.indexOf(container.layer) + 1)) {
    const walked = walkRedirect(layer, path)
    const fd = walked.loc?.fd() ?? -1
    if (walked.loc === undefined || fd < 0) {
      if (walked.stop) return -EIO
      continue
    }
    if (statAt(fd, walked.name, scratch) < 0) continue
    if ((scratch.mode & S_IFMT) !== S_IFREG) return -EIO
    if (isMetacopy(fd, walked.name) !== true) return open(fd, walked.name, flags | O_NOFOLLOW)
    path = redirected(walked.loc, walked.name, path)
  }
  return -EIO
}

function redirected(loc: Loc, name: Name, path: Name): Name {
  const redirect = readRedirect(loc, name)
  if (redirect === undefined) return path
  return redirect.startsWith('/') ? redirect : `${path.slice(0, path.lastIndexOf('/'))}/${redirect}`
}
