/** One directory of the stack: opened once, told apart by its filesystem, its id maps and its whiteout form. */

import { realpathSync } from 'node:fs'
import { relative } from 'node:path'
import { AT_FDCWD, EACCES, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP, O_DIRECTORY, O_PATH } from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import { IdMap, type IdRange } from '../idmap.js'
import type { LayerSpec, StackOptions } from '../options.js'
import { open, openBeneath } from '../sys/file.js'
import { filesystemUuid } from '../sys/handle.js'
import { bytesOf } from '../sys/libc.js'
import { stat } from '../sys/stat.js'
import { getegid, geteuid } from '../sys/thread.js'
import { cloneReadOnly } from '../sys/tree.js'
import { readXattr } from '../sys/xattr.js'
import { Attr, type Name } from '../vfs.js'
import { Loc } from './loc.js'
import { overrideOf } from './override.js'
import { isRemote, Reach } from './reach.js'

/** The forms a whiteout is written in: char device 0/0 (overlayfs), or a file `.wh.NAME` (OCI, AUFS). */
export type WhiteoutForm = 'overlay' | 'oci'

/** Internal xattr of a layer's root that declares the one form its whiteouts have, so that the other's names are plain files. */
export const FORM_XATTRS = ['trusted.overlay.layerfs.whiteouts', 'user.overlay.layerfs.whiteouts'] as const

/** A stack, and where it will be mounted, if anywhere. */
export interface UnionOptions extends StackOptions {
  mountpoint?: string
  /** As MountOptions.kernelOptions: `noatime` and `ro` keep access times as they are. */
  kernelOptions?: readonly string[]
}

/** Where a directory is opened, if not by its path. */
export interface Door {
  dirfd: number
  path: Name
}

export class Layer {
  readonly root: Loc
  /** Device number of the layer's root. */
  readonly dev: number
  readonly ino: number
  /** UUID of the layer's filesystem as overlayfs's origin handles carry it; zeros where the kernel tells none. */
  readonly uuid: Buffer
  /** Whether its directories may be opened for reading without their access times noticing; tried until one refuses. */
  quiet: boolean
  /** Of a lower whose filesystem may cease to answer. */
  readonly reach: Reach | undefined

  private constructor(
    readonly path: string,
    fd: number,
    attr: Attr,
    /** The single writable layer of a mount. */
    readonly writable: boolean,
    readonly uids: IdMap,
    readonly gids: IdMap,
    /** Owner on disk of what root makes whose own ids have no mapping; -1: that is refused. */
    readonly fosterUid: number,
    readonly fosterGid: number,
    /** The xattr that has its files' owner, mode and type, where they do not have them themselves. */
    readonly override: string | undefined,
    /** The form declared at the layer's root; undefined where every form is read. */
    public form: WhiteoutForm | undefined,
  ) {
    this.dev = attr.dev
    this.ino = attr.ino
    this.uuid = filesystemUuid(fd)
    this.root = Loc.root(this, fd)
    const remote = isRemote(fd)
    this.reach = remote && !writable ? new Reach(fd) : undefined
    // Elsewhere, opening for reading is a request of its own.
    this.quiet = !remote
  }

  /** Where the mountpoint of this very mount lies within the layer: what it covers, opened before it did. */
  covered: { path: Name; fd: number } | undefined

  /** Whether `.wh.NAME` hides NAME here. */
  get ociWhiteouts(): boolean {
    return this.form !== 'overlay'
  }

  /**
   * Opens a layer. A lower becomes a read-only clone of its mounts where that is permitted: nothing is written
   * through it, not even access times, and mounts made later (this one's own among them) are not seen in it.
   *
   * @param door leads to the same directory
   * @param clone false: the directory itself is used, so that its files can be linked elsewhere: linkat(2) refuses
   *   links from one mount to another, clones of it included
   * @throws LayerfsError NO_SUCH_DIRECTORY, NOT_A_DIRECTORY, ACCESS_DENIED, BAD_MAP
   */
  static open(
    spec: LayerSpec,
    options: UnionOptions,
    writable: boolean,
    clone = !writable,
    door?: Door,
  ): Layer {
    const { mountpoint } = options
    const { dirfd, path } = door ?? { dirfd: AT_FDCWD, path: bytesOf(spec.path) }
    let fd = open(dirfd, path, O_PATH | O_DIRECTORY)
    if (fd < 0) throw cannotOpen(spec.path, -fd)
    const { uids, gids } = mapsOf(spec, options)
    const foster = (map: IdRange[]): number => (options.unmappedRoot === 'adopt' ? (map[0]?.disk ?? -1) : -1)
    const own = clone ? cloneReadOnly(fd) : fd
    const sharesMounts = own === fd
    fd = own
    const attr = new Attr()
    const r = stat(fd, attr)
    if (r < 0) throw cannotOpen(spec.path, -r)
    const layer = new Layer(
      spec.path,
      fd,
      attr,
      writable,
      uids,
      gids,
      foster(spec.uidmap ?? options.uidmap),
      foster(spec.gidmap ?? options.gidmap),
      options.override === 'off' ? undefined : overrideOf(fd, spec.path, options.override, attr, writable),
      declaredForm(fd, spec.path),
    )
    if (sharesMounts && mountpoint !== undefined) layer.cover(mountpoint)
    return layer
  }

  /** Keeps hold of the directory beneath the mountpoint, so that the daemon never walks into its own mount. */
  private cover(mountpoint: string): void {
    let real: string
    try {
      real = realpathSync(mountpoint)
    } catch {
      // Missing or dead: whoever mounts there says so.
      return
    }
    const below = relative(realpathSync(this.path), real)
    if (below === '' || below === '..' || below.startsWith('../')) return
    const path = bytesOf(below)
    const fd = openBeneath(this.root.fd(), path, O_PATH | O_DIRECTORY)
    if (fd >= 0) this.covered = { path, fd }
  }
}

const mapsOf = (spec: LayerSpec, o: UnionOptions): { uids: IdMap; gids: IdMap } => {
  const root = geteuid() === 0
  const map = (ranges: IdRange[], squash: number | undefined, own: number): IdMap => {
    // Only root may give a file to the one who seems to own it all.
    if (squash !== undefined) return IdMap.squash(squash, root ? squash : own, ranges)
    return ranges.length === 0 ? IdMap.IDENTITY : new IdMap(ranges)
  }
  return {
    uids: map(spec.uidmap ?? o.uidmap, o.squashUid, geteuid()),
    gids: map(spec.gidmap ?? o.gidmap, o.squashGid, getegid()),
  }
}

function declaredForm(fd: number, path: string): WhiteoutForm | undefined {
  for (const name of FORM_XATTRS) {
    const value = readXattr(fd, '.', name)
    if (typeof value === 'number') {
      if (value === -ENODATA || value === -EOPNOTSUPP) continue
      const code = value === -EACCES ? 'ACCESS_DENIED' : 'IO'
      throw new LayerfsError(code, `cannot read ${name} of ${path}: ${errnoText(value)}`, {
        errno: -value,
        path,
      })
    }
    const form = value.toString('latin1')
    if (form === 'overlay' || form === 'oci') return form
  }
  return undefined
}

function cannotOpen(path: string, errno: number): LayerfsError {
  const detail = { errno, path }
  if (errno === ENOENT)
    return new LayerfsError(
      'NO_SUCH_DIRECTORY',
      `no such directory: ${path}; create it or correct the path`,
      detail,
    )
  if (errno === ENOTDIR)
    return new LayerfsError(
      'NOT_A_DIRECTORY',
      `not a directory: ${path}; a layer must be a directory`,
      detail,
    )
  return new LayerfsError('ACCESS_DENIED', `cannot open layer ${path}: ${errnoText(errno)}`, detail)
}
