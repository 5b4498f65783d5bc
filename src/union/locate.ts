import { ESTALE } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import type { Loc } from './loc.js'
import { Dir, type Node } from './node.js'

/** Where the calls that act on a node's file find it: by name in a directory, or, without a name, by a descriptor. */
export const place = { fd: -1, name: '' }

/**
 * Fills `place`; of a directory that of its topmost layer.
 *
 * @param self how a directory is called within itself: empty where the call takes O_PATH descriptors, since `.` cannot be
 *   walked in a directory that its own mode closes; `.` where it does not
 * @returns -ESTALE where nothing leads to the file any more
 */
export function locate(node: Node, self: '' | '.'): Result {
  if (node instanceof Dir) {
    place.fd = (node.locs[0] as Loc).fd()
    place.name = self
  } else if (!node.adrift) {
    place.fd = node.home.fd()
    place.name = node.homeName
  } else {
    const fd = node.lifeline
    place.fd = fd < 0 ? -ESTALE : fd
    place.name = ''
  }
  return Math.min(place.fd, 0)
}
