/** Where a directory's lower part is found under another name: `overlay.redirect` (overlayfs.rst, "Redirects"). */

import { S_IFDIR, S_IFMT } from '../abi/linux.js'
import { overlayPrefix, REDIRECT } from '../abi/overlay.js'
import { statAt } from '../sys/stat.js'
import { readXattr } from '../sys/xattr.js'
import { Attr, type Name } from '../vfs.js'
import type { Layer } from './layer.js'
import type { Loc } from './loc.js'
import { isOciMark, readMarks } from './whiteout.js'

/** Only the privileged namespace is followed: an unprivileged one could lead a privileged mount astray. */
export const REDIRECT_XATTR = overlayPrefix('trusted') + REDIRECT

/** The redirect of `name` in `loc`: a path from the layers' roots with a leading slash, or a name beside it; undefined: none. */
export function readRedirect(loc: Loc, name: Name): Name | undefined {
  const value = readXattr(loc.fd(), name, REDIRECT_XATTR)
  if (typeof value === 'number' || value.length === 0) return undefined
  const path = value.toString('latin1')
  const parts = path.startsWith('/') ? path.slice(1).split('/') : [path]
  return parts.every((p) => p.length > 0 && p !== '.' && p !== '..' && p.length <= 255) ? path : undefined
}

const scratch = new Attr()

/** What a path leads to in one layer, followed directory by directory. */
export interface Walked {
  /** Directory that holds the last component, where every one before it is a directory. */
  loc: Loc | undefined
  name: Name
  /** A component is no directory, a whiteout or opaque: layers below do not count. */
  stop: boolean
}

/** Walks an absolute redirect in one layer up to its last component. */
export function walkRedirect(layer: Layer, path: Name): Walked {
  const parts = path.slice(1).split('/')
  const name = parts.pop() as Name
  let loc = layer.root
  let stop = false
  for (const part of parts) {
    const fd = loc.fd()
    if (fd < 0 || isOciMark(loc, part)) return { loc: undefined, name, stop }
    if (statAt(fd, part, scratch) < 0) return { loc: undefined, name, stop }
    if ((scratch.mode & S_IFMT) !== S_IFDIR) return { loc: undefined, name, stop: true }
    loc = loc.child(part)
    if (readMarks(loc) === 1) stop = true
  }
  return { loc, name, stop }
}
