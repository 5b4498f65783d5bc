/** Puts the files of a stack into a new directory: by hard link, else sharing data, else by copy, each counted. */

import {
  DT_REG,
  EINVAL,
  EMLINK,
  ENOENT,
  EOPNOTSUPP,
  EPERM,
  EXDEV,
  O_CREAT,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  PATH_MAX,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../abi/linux.js'
import { LayerfsError } from '../errors.js'
import { IdMap } from '../idmap.js'
import { clone, close, open } from '../sys/file.js'
import { linkAt, mknodAt, symlinkAt } from '../sys/name.js'
import { chmodAt, statAt, utimensAt } from '../sys/stat.js'
import { geteuid, inFirstUserNamespace } from '../sys/thread.js'
import { readXattr, xattrNames } from '../sys/xattr.js'
import { copyBytes } from '../union/copydata.js'
import type { Loc } from '../union/loc.js'
import { isMetacopy, openBelow } from '../union/metacopy.js'
import { copyMetadata, copyXattrs, isContent, mapXattr, type Owners } from '../union/metadata.js'
import { readLinkIn, statIn } from '../union/override.js'
import type { Stack } from '../union/resolve.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { changed, check, type MergedDir, shown, within } from './walk.js'

/**
 * How files get into the new tree. `auto`: linked, where that cannot be cloned, else copied. `only`: linked, or an
 * error. `clone`: a file of its own that shares data with the layer's where the filesystem can, else a copy.
 * `copy`: sharing nothing.
 */
export type LinkMode = 'auto' | 'only' | 'clone' | 'copy'

/** Why a file could not be linked: an errno's name, or what of its metadata shows differently than it is stored. */
export type Refusal = 'EXDEV' | 'EMLINK' | 'EPERM' | 'EOPNOTSUPP' | 'owner' | 'override' | 'metacopy'

/** What has been put into the new tree so far. */
export class Counts {
  directories = 0
  /** Names linked to a file of a layer. */
  linked = 0
  /** Files that share their data with a layer's. */
  cloned = 0
  copied = 0
  /** Further names of a cloned or copied file, and symlinks and special files made again. */
  made = 0
  /** Bytes of content copied, cloned ones left out. */
  bytes = 0
  /** Files and directories whose owner or capabilities this user may not set: they are the user's own. */
  unowned = 0
  /** How many files could not be linked, by reason. */
  readonly refusals: Partial<Record<Refusal, number>> = {}

  get files(): number {
    return this.linked + this.cloned + this.copied + this.made
  }
}

/** Errors of linkat(2) that leave the way of a clone or copy. */
const REFUSALS: ReadonlyMap<Result, Refusal> = new Map([
  [-EXDEV, 'EXDEV'],
  [-EMLINK, 'EMLINK'],
  [-EPERM, 'EPERM'],
  [-EOPNOTSUPP, 'EOPNOTSUPP'],
])

/** Whether this process may give files to anybody. Elsewhere owners that cannot be kept are counted and told. */
const canChown = (): boolean => geteuid() === 0 && inFirstUserNamespace()

/** Owners in the new tree are stored as they show. */
export const AS_SHOWN: Owners = { uids: IdMap.IDENTITY, gids: IdMap.IDENTITY }

/** How many refused files an error names. */
const MAX_NAMED = 10

const attr = new Attr()
const target = Buffer.alloc(PATH_MAX)

/** Opens a file for reading without a trace in its access time, where that is permitted. */
export function openQuietly(dirfd: number, name: Name): Result {
  const flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW
  const fd = open(dirfd, name, flags | O_NOATIME)
  return fd === -EPERM ? open(dirfd, name, flags) : fd
}

/** Opens the content of a regular file of the merged tree, wherever it lies. */
export function openContent(stack: Stack, locs: readonly Loc[], container: Loc, name: Name): Result {
  const dirfd = container.fd()
  if (dirfd < 0) return dirfd
  if (container.impure === true) {
    const meta = isMetacopy(dirfd, name)
    if (meta < 0) return meta
    if (meta === 1) return openBelow(stack, locs, container, name, O_RDONLY | O_NONBLOCK)
  }
  return openQuietly(dirfd, name)
}

/** Whether all files of a layer have on disk the owner, mode and type that they show. */
export const storesAsShown = ({ uids, gids, override }: Owners): boolean =>
  uids.identity && gids.identity && override === undefined

const stored = new Attr()

/**
 * Whether a file shows otherwise than it is stored: another owner, also in its ACLs or capabilities, or what an
 * override xattr says.
 */
export function showsOtherwise({ layer }: Loc, fd: number, name: Name, path: Name): Refusal | undefined {
  check(statAt(fd, name, stored), 'look at', path)
  check(statIn(layer, fd, name, attr), 'look at', path)
  if (attr.uid !== stored.uid || attr.gid !== stored.gid || attr.mode !== stored.mode) return 'override'
  if (layer.uids.toShown(attr.uid) !== attr.uid || layer.gids.toShown(attr.gid) !== attr.gid) return 'owner'
  const names = xattrNames(fd, name)
  if (typeof names === 'number') {
    if (names !== -EOPNOTSUPP) check(names, 'read the xattrs of', path)
    return undefined
  }
  for (const xattr of names) {
    const value = readXattr(fd, name, xattr)
    if (typeof value === 'number') throw check(value, `read ${xattr} of`, path)
    const kept = Buffer.from(value)
    check(mapXattr(xattr, value, layer, 'toShown'), `map the ids in ${xattr} of`, path)
    if (!value.equals(kept)) return 'owner'
  }
  return undefined
}

export class Placer {
  readonly counts = new Counts()
  /** The first files that could not be linked though they had to be. */
  private readonly named: string[] = []
  private refused = 0
  private readonly privileged = canChown()
  /** Files put in place by copy that have further names, by device and number of the original. */
  private readonly copies = new Map<string, { dir: Loc; name: Name }>()

  /**
   * @param unlinkable tells of a file's directory whether links out of it are known to be refused
   * @param wanted whether an xattr is copied; a layer format's own are not
   * @param raw the layer is copied as such: metadata whose data lies in a layer below stays without it
   */
  constructor(
    private readonly stack: Stack,
    private readonly mode: LinkMode,
    private readonly unlinkable: (loc: Loc) => Refusal | undefined,
    private readonly wanted: (xattr: string) => boolean = isContent,
    private readonly raw = false,
  ) {}

  /** Whether an entry can be linked without looking at it first. */
  linksBlindly(loc: Loc, type: number): boolean {
    if (this.mode !== 'auto' && this.mode !== 'only') return false
    if (!storesAsShown(loc.layer) || this.unlinkable(loc) !== undefined) return false
    return this.raw || type !== DT_REG || loc.impure !== true
  }

  /** Puts entry `at` of a directory's listing, no directory itself, into `to`. @throws LayerfsError that names it */
  place(dir: MergedDir, at: number, to: Loc): void {
    const name = dir.listing.names[at] as Name
    const loc = dir.listing.from[at] as Loc
    const type = dir.listing.types[at] as number
    if (this.mode === 'auto' || this.mode === 'only') {
      const refusal = this.link(loc, name, type, to, dir)
      if (refusal === undefined) {
        this.counts.linked++
        return
      }
      this.counts.refusals[refusal] = (this.counts.refusals[refusal] ?? 0) + 1
      if (this.mode === 'only') {
        this.refused++
        if (this.named.length < MAX_NAMED) this.named.push(`${shown(within(dir, name))} (${refusal})`)
        return
      }
    }
    this.copy(dir, loc, name, to)
  }

  /** @throws LayerfsError LINK_REFUSED that names the files which had to be linked and were not */
  settle(): void {
    if (this.refused === 0) return
    const rest = this.refused - this.named.length
    const files = `${this.named.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
    throw new LayerfsError(
      'LINK_REFUSED',
      `${this.refused} ${this.refused === 1 ? 'file' : 'files'} cannot be linked: ${files}; --link=auto copies them`,
    )
  }

  /** Links a file into place, or tells why that cannot be. */
  private link(loc: Loc, name: Name, type: number, to: Loc, dir: MergedDir): Refusal | undefined {
    const known = this.unlinkable(loc)
    if (known !== undefined) return known
    const fd = check(loc.fd(), 'open', dir.path)
    if (!storesAsShown(loc.layer)) {
      const otherwise = showsOtherwise(loc, fd, name, within(dir, name))
      if (otherwise !== undefined) return otherwise
    }
    if (type === DT_REG && loc.impure === true && !this.raw) {
      if (check(isMetacopy(fd, name), 'look at', within(dir, name)) === 1) return 'metacopy'
    }
    const r = linkAt(fd, name, check(to.fd(), 'open the new', dir.path), name)
    if (r >= 0) return undefined
    const refusal = REFUSALS.get(r)
    if (refusal === undefined)
      throw r === -ENOENT ? changed(within(dir, name)) : check(r, 'link', within(dir, name))
    return refusal
  }

  /** Makes the file anew: a further name of a copy made before, or a clone or copy. */
  private copy(dir: MergedDir, loc: Loc, name: Name, to: Loc): void {
    const path = within(dir, name)
    check(statIn(loc.layer, check(loc.fd(), 'open', dir.path), name, attr), 'look at', path)
    const type = attr.mode & S_IFMT
    if (type === S_IFDIR) throw changed(path)
    const key = attr.nlink > 1 ? `${attr.dev}:${attr.ino}` : undefined
    const first = key === undefined ? undefined : this.copies.get(key)
    if (first !== undefined) {
      const fd = check(first.dir.fd(), 'open the new', first.dir.path())
      const r = linkAt(fd, first.name, check(to.fd(), 'open the new', dir.path), name)
      if (r >= 0) {
        this.counts.made++
        return
      }
      if (r !== -EMLINK) check(r, 'link the copy of', path)
    }
    if (type === S_IFREG) this.copyFile(dir, loc, name, to, path)
    else {
      const fd = check(loc.fd(), 'open', dir.path)
      const toFd = check(to.fd(), 'open the new', dir.path)
      if (type === S_IFLNK) {
        const length = check(readLinkIn(loc.layer, fd, name, target), 'read', path)
        check(symlinkAt(target.toString('latin1', 0, length), toFd, name), 'make', path)
      } else check(mknodAt(toFd, name, attr.mode, attr.rdev), 'make', path)
      this.counts.made++
      this.keep(loc.layer, fd, name, attr, toFd, name, path)
    }
    if (key !== undefined) this.copies.set(key, { dir: to, name })
  }

  private copyFile(dir: MergedDir, loc: Loc, name: Name, to: Loc, path: Name): void {
    const content = this.raw ? openQuietly(loc.fd(), name) : openContent(this.stack, dir.locs, loc, name)
    const from = check(content, 'open', path)
    const toFd = check(to.fd(), 'open the new', dir.path)
    const fd = open(toFd, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600)
    const shared = this.mode === 'copy' || attr.size === 0 || fd < 0 ? -1 : clone(from, fd)
    const r = fd < 0 ? fd : shared === 0 ? 0 : copyBytes(from, fd, attr.size)
    close(from)
    if (fd >= 0) close(fd)
    check(r, 'copy', path)
    if (shared === 0) this.counts.cloned++
    else {
      this.counts.copied++
      this.counts.bytes += attr.size
    }
    this.keep(loc.layer, check(loc.fd(), 'open', dir.path), name, attr, toFd, name, path)
  }

  /** Gives a new directory, all in it being done, the metadata of the one it stands for. */
  keepDirectory(dir: MergedDir, to: Loc): void {
    const top = dir.locs[0] as Loc
    const fd = check(top.fd(), 'open', dir.path)
    check(statIn(top.layer, fd, '.', attr), 'look at', dir.path)
    this.keep(top.layer, fd, '.', attr, check(to.fd(), 'open the new', dir.path), '.', dir.path)
  }

  /** Gives something new the metadata of what it stands for. @param a as on disk. @throws LayerfsError that names it */
  private keep(
    from: Owners,
    dirfd: number,
    fromName: Name,
    a: Attr,
    toFd: number,
    name: Name,
    path: Name,
  ): void {
    let r = copyMetadata(from, dirfd, fromName, a, AS_SHOWN, toFd, name, this.wanted)
    if ((r === -EPERM || r === -EINVAL) && !this.privileged) {
      this.counts.unowned++
      r = this.keepUnowned(from, dirfd, fromName, a, toFd, name)
    }
    check(r, 'set the owner, mode, times and xattrs of', path)
  }

  /** The same without the owner, and so without what only that owner's file may have: set-id bits and `security.` xattrs. */
  private keepUnowned(
    from: Owners,
    dirfd: number,
    fromName: Name,
    a: Attr,
    toFd: number,
    name: Name,
  ): Result {
    const allowed = (x: string): boolean => this.wanted(x) && !x.includes('security.')
    let r = copyXattrs(from, dirfd, fromName, AS_SHOWN, toFd, name, allowed)
    if (r >= 0) r = utimensAt(toFd, name, a.atime, a.atimeNs, a.mtime, a.mtimeNs)
    // Last: a mode may forbid the owner the rest.
    return r < 0 || (a.mode & S_IFMT) === S_IFLNK ? r : chmodAt(toFd, name, a.mode & 0o1777)
  }
}
