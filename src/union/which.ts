/** Where a file comes from: the answer to the xattr `layerfs.which`. */

import { S_IFDIR, S_IFMT } from '../abi/linux.js'
import { textOf } from '../sys/libc.js'
import { statAt } from '../sys/stat.js'
import { Attr, type Name } from '../vfs.js'
import type { Core } from './core.js'
import type { Loc } from './loc.js'
import { Dir, type Node } from './node.js'
import { hasOciWhiteout, isOciMark, isWhiteout } from './whiteout.js'

/** What one layer has at a name. */
export interface Place {
  layer: string
  /** Path within the layer, without a leading slash; text, so bytes that are not UTF-8 are replaced. */
  path: string
  kind: 'file' | 'directory' | 'whiteout'
}

export interface Which {
  /** Layer that provides the file. Of a directory: the topmost. */
  layer: string
  path: string
  upper: boolean
  /** Further layers that show in a directory, topmost first. */
  merged: Place[]
  /** What lies beneath and is hidden, topmost first. */
  hidden: Place[]
}

const join = (loc: Loc, name: Name): string => {
  const above = loc.path()
  return textOf(above.length === 0 ? name : `${above}/${name}`)
}

const scratch = new Attr()

export function which(core: Core, node: Node): Which {
  const { layer } = node.home
  const dirs = node instanceof Dir ? node.locs : []
  const top = dirs[0]
  const answer: Which = {
    layer: layer.path,
    path: top === undefined ? join(node.container, node.name) : textOf(top.path()),
    upper: node.inUpper,
    merged: dirs
      .slice(1)
      .map((loc) => ({ layer: loc.layer.path, path: textOf(loc.path()), kind: 'directory' })),
    hidden: [],
  }
  const shown = new Set(dirs.map((loc) => loc.layer))
  if (node.parent !== undefined) {
    const at = core.stack.layers.indexOf(layer)
    for (const loc of node.parent.locs) {
      if (core.stack.layers.indexOf(loc.layer) <= at || shown.has(loc.layer)) continue
      const place = placeIn(loc, node.name)
      if (place !== undefined) answer.hidden.push(place)
    }
  }
  return answer
}

function placeIn(loc: Loc, name: Name): Place | undefined {
  const fd = loc.fd()
  if (fd < 0) return undefined
  const place = (kind: Place['kind']): Place => ({ layer: loc.layer.path, path: join(loc, name), kind })
  if (!isOciMark(loc, name) && statAt(fd, name, scratch) === 0) {
    if (isWhiteout(loc, name, scratch)) return place('whiteout')
    return place((scratch.mode & S_IFMT) === S_IFDIR ? 'directory' : 'file')
  }
  return hasOciWhiteout(loc, name) ? place('whiteout') : undefined
}
