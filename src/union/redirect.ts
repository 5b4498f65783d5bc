/** Where a directory's lower part is found under another name: `overlay.redirect` (overlayfs.rst, "Redirects"). */

import { ENODATA, ENOENT, EOPNOTSUPP, S_IFDIR, S_IFMT } from '../abi/linux.js'
import { statAt } from '../sys/stat.js'
import { readXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import type { Layer } from './layer.js'
import { isAbsent, type Loc } from './loc.js'
import type { Node } from './node.js'
import { hasOciWhiteout, isOciMark, REDIRECT_XATTR, readMarks } from './whiteout.js'

/** The redirect of `name` in `loc`: a path from the layers' roots with a leading slash, or a name beside it; undefined: none; -errno. */
export function readRedirect(loc: Loc, name: Name): Name | undefined | Result {
  const fd = loc.fd()
  const value = fd < 0 ? fd : readXattr(fd, name, REDIRECT_XATTR)
  if (typeof value === 'number') return value === -ENODATA || value === -EOPNOTSUPP ? undefined : value
  if (value.length === 0) return undefined
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
  /** The same path as the layers below know it: redirects on the way count. */
  path: Name
  /** A component is no directory, a whiteout or opaque: layers below do not count. */
  stop: boolean
}

/** The path in the layers below of what stands at `path`, by its redirect if it has one. */
export function redirectedPath(path: Name, redirect: Name | undefined): Name {
  if (redirect === undefined) return path
  return redirect.startsWith('/') ? redirect : `${path.slice(0, path.lastIndexOf('/'))}/${redirect}`
}

/** Walks an absolute redirect in one layer up to its last component. @returns -errno where a directory on the way cannot be read */
export function walkRedirect(layer: Layer, path: Name): Walked | Result {
  const parts = path.slice(1).split('/')
  const name = parts.pop() as Name
  let loc = layer.root
  let below = ''
  let stop = false
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as Name
    const fd = loc.fd()
    const r = fd < 0 ? fd : isOciMark(loc, part) ? -ENOENT : statAt(fd, part, scratch)
    if (r < 0 && !isAbsent(r)) return r
    if (r < 0 || (scratch.mode & S_IFMT) !== S_IFDIR) {
      const end = r >= 0 || (fd >= 0 && hasOciWhiteout(loc, part))
      return {
        loc: undefined,
        name,
        path: `${below}/${path
          .split('/')
          .slice(i + 1)
          .join('/')}`,
        stop: stop || end,
      }
    }
    const redirect = readRedirect(loc, part)
    if (typeof redirect === 'number') return redirect
    below = redirectedPath(`${below}/${part}`, redirect)
    const whiteout = hasOciWhiteout(loc, part)
    loc = loc.child(part)
    const marks = readMarks(loc)
    if (marks < 0) return marks
    if (whiteout || marks === 1) stop = true
  }
  return { loc, name, path: `${below}/${name}`, stop }
}

/** The path by which the layers beneath the upper know a node that shows in them: what a redirect notes; -errno. */
export function lowerPath(node: Node): Name | Result {
  const { parent, name } = node
  if (parent === undefined) return ''
  const redirect = node.inUpper ? readRedirect(node.home, node.homeName) : undefined
  if (typeof redirect === 'number' || redirect?.startsWith('/')) return redirect
  const above = lowerPath(parent)
  return typeof above === 'number' ? above : `${above}/${redirect ?? name}`
}
