/** Where a directory's lower part is found under another name: `overlay.redirect` (overlayfs.rst, "Redirects"). */

import { S_IFDIR, S_IFMT } from '../abi/linux.js'
import { statAt } from '../sys/stat.js'
import { readXattr } from '../sys/xattr.js'
import { Attr, type Name } from '../vfs.js'
import type { Layer } from './layer.js'
import type { Loc } from './loc.js'
import type { Node } from './node.js'
import { hasOciWhiteout, isOciMark, REDIRECT_XATTR, readMarks } from './whiteout.js'

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

/** Walks an absolute redirect in one layer up to its last component. */
export function walkRedirect(layer: Layer, path: Name): Walked {
  const parts = path.slice(1).split('/')
  const name = parts.pop() as Name
  let loc = layer.root
  let below = ''
  let stop = false
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as Name
    const fd = loc.fd()
    const found = fd >= 0 && !isOciMark(loc, part) && statAt(fd, part, scratch) >= 0
    const isDir = found && (scratch.mode & S_IFMT) === S_IFDIR
    if (!isDir) {
      const end = found || (fd >= 0 && hasOciWhiteout(loc, part))
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
    below = redirectedPath(`${below}/${part}`, readRedirect(loc, part))
    const whiteout = hasOciWhiteout(loc, part)
    loc = loc.child(part)
    if (whiteout || readMarks(loc) === 1) stop = true
  }
  return { loc, name, path: `${below}/${name}`, stop }
}

/** The path by which the layers beneath the upper know a node that shows in them: what a redirect notes. */
export function lowerPath(node: Node): Name {
  const { parent, name } = node
  if (parent === undefined) return ''
  const redirect = node.inUpper ? readRedirect(node.home, node.homeName) : undefined
  return redirect?.startsWith('/') ? redirect : `${lowerPath(parent)}/${redirect ?? name}`
}
