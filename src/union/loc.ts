/** Directories within layers, and the bounded cache of descriptors through which everything in them is reached. */

import { LRUCache } from 'lru-cache'
import {
  EACCES,
  ELOOP,
  EMFILE,
  ENOENT,
  ENOTDIR,
  EPERM,
  O_DIRECTORY,
  O_NOATIME,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
} from '../abi/linux.js'
import { close, open } from '../sys/file.js'
import { DESCRIPTOR_ROOM, openFileLimit } from '../sys/limit.js'
import type { Name, Result } from '../vfs.js'
import type { Layer } from './layer.js'

/** How many directory descriptors stay open at most, all layers together. Roots do not count. */
const MAX_DIRECTORY_FDS = Math.min(DESCRIPTOR_ROOM, Math.floor(openFileLimit() / 2))

const cache = new LRUCache<Loc, number>({
  max: MAX_DIRECTORY_FDS,
  dispose: (fd, loc) => {
    loc.cached = -1
    close(fd)
  },
})

/** Errors that mean "nothing of use by this name in this layer". */
export const isAbsent = (r: Result): boolean => r === -ENOENT || r === -ENOTDIR || r === -ELOOP

/**
 * Closes the half of them that has not been asked for longest: other mounts of this process may leave fewer than this cache may have.
 * @returns whether there were any
 */
export function closeSome(): boolean {
  const some = Math.ceil(cache.size / 2)
  for (let i = 0; i < some; i++) cache.pop()
  return some > 0
}

/** Who has been asked for last: the cache need not be told that it is used again. */
let latest: Loc | undefined

/**
 * A directory in one layer. It is found again by walking names from the layer's root, never following a symlink, so
 * nothing in a layer can lead out of it. Renaming a directory changes its Loc, and with it every path beneath.
 */
export class Loc {
  /** Descriptor in the cache, or -1. */
  cached = -1
  /** Whether the directory can be listed through that descriptor. */
  readable = false
  /** Whether that descriptor has been listed through. */
  moved = false
  /** Whether the directory is known to hold files with an origin or redirect (overlayfs's `impure`); undefined: not yet asked. */
  impure: boolean | undefined
  /** Whether empty files here may be xattr whiteouts (opaque=x); undefined: not yet asked. */
  xwhiteouts: boolean | undefined
  /** Whether names of OCI's marks (`.wh.`) stand here; undefined: not yet listed. */
  ociMarks: boolean | undefined
  /** Whether it holds whiteouts of any form; undefined: not yet listed. */
  whiteouts: boolean | undefined
  /** Whether it has a redirect, as of the last look at its marks. */
  redirects = false

  private constructor(
    readonly layer: Layer,
    public parent: Loc | undefined,
    public name: Name,
    private rootFd: number,
  ) {}

  static root(layer: Layer, fd: number): Loc {
    return new Loc(layer, undefined, '', fd)
  }

  child(name: Name): Loc {
    return new Loc(this.layer, this, name, -1)
  }

  /**
   * A descriptor of the directory, owned by the cache: good until many others have been asked for.
   *
   * @returns -ENOENT, -ENOTDIR or -ELOOP where the name is no longer a directory
   */
  fd(): Result {
    if (this.parent === undefined) return this.rootFd
    if (this.cached >= 0) {
      if (latest !== this) cache.get(this)
      latest = this
      return this.cached
    }
    const { covered } = this.layer
    if (covered !== undefined && this.path() === covered.path) return covered.fd
    const up = this.parent.fd()
    if (up < 0) return up
    let fd = this.open(up)
    if (fd === -EMFILE && closeSome()) fd = this.open(up)
    if (fd >= 0) {
      this.cached = fd
      cache.set(this, fd)
      latest = this
    }
    return fd
  }

  /** Opens the directory so that it can be listed too, if that leaves its access time alone. */
  private open(up: number): Result {
    const { layer } = this
    this.readable = false
    this.moved = false
    if (layer.quiet) {
      const fd = open(up, this.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME)
      this.readable = fd >= 0
      // O_NOATIME is for a file's owner.
      if (fd === -EPERM) layer.quiet = false
      else if (fd !== -EACCES) return fd
    }
    return open(up, this.name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  }

  /** A directory that has just been made: it holds nothing. */
  made(): void {
    this.impure = false
    this.xwhiteouts = false
    this.ociMarks = false
    this.whiteouts = false
  }

  /** Somebody else may have changed it. */
  forgetMarks(): void {
    this.impure = undefined
    this.xwhiteouts = undefined
    this.ociMarks = undefined
    this.whiteouts = undefined
  }

  /** Lets go of the descriptor: the directory is about to be removed or is no longer wanted. */
  drop(): void {
    if (this.cached >= 0) cache.delete(this)
  }

  /** Ends the use of a layer: closes its root and what of it is in the cache, which all mounts of a process share. */
  closeRoot(): void {
    for (const loc of [...cache.keys()]) if (loc.layer === this.layer) loc.drop()
    if (this.rootFd >= 0) close(this.rootFd)
    this.rootFd = -1
    if (this.layer.covered !== undefined) close(this.layer.covered.fd)
  }

  /** The path from the layer's root, without a leading slash; empty for the root itself. */
  path(): Name {
    if (this.parent === undefined) return ''
    const above = this.parent.path()
    return above.length === 0 ? this.name : `${above}/${this.name}`
  }
}

/** How many directory descriptors are open now. */
export const openDirectories = (): number => cache.size
