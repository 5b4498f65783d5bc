/** The upper and its workdir: locked, cleaned, probed for what they can hold; and the temporary names things are built under. */

import {
  AT_FDCWD,
  EAGAIN,
  EEXIST,
  ENOENT,
  ENOTDIR,
  EOPNOTSUPP,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  RENAME_WHITEOUT,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
} from '../abi/linux.js'
import { NLINK, type OverlayNamespace, overlayPrefix } from '../abi/overlay.js'
import { errnoText, LayerfsError } from '../errors.js'
import type { StackOptions } from '../options.js'
import { close, flock, LOCK_EX, LOCK_NB, open, syncfs } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { listDir, mkdirAt, mknodAt, renameAt, unlinkAt } from '../sys/name.js'
import { removeTree } from '../sys/remove.js'
import { stat, statAt, statFs } from '../sys/stat.js'
import { readXattr, removeXattr, setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { type Door, FORM_XATTRS, type Layer, type WhiteoutForm } from './layer.js'
import { Loc } from './loc.js'
import { isWhiteoutDevice } from './whiteout.js'

/** The directory inside the workdir that temporary files stand in, named as overlayfs names its own. */
const WORK = 'work'
/** What a volatile mount leaves until it ends cleanly: overlayfs's marker, which also makes the kernel refuse the workdir. */
const INCOMPAT = 'incompat'
const VOLATILE = 'volatile'
/**
 * Private overlayfs, each with its upper and its workdir: see shadow.ts. Not in `work`, which overlayfs empties before it mounts, but
 * of no trees.
 */
export const LENT = 'lent'
/** Copies of lower files with several links, by origin: overlayfs's index. */
const INDEX = 'index'

/** tmpfs, ramfs: statfs(2). */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6])

export class Workdir {
  private counter = 0

  private constructor(
    /** WORKDIR, by path. */
    readonly path: Name,
    /** WORKDIR/work, open for reading. */
    readonly fd: number,
    /** The upper's root, open for reading; it carries the lock. */
    private readonly upperFd: number,
    /** WORKDIR. */
    readonly outerFd: number,
    /** WORKDIR/index, where an index is kept. */
    readonly index: Loc | undefined,
    /** Undefined where the upper's filesystem has no xattrs. */
    readonly namespace: OverlayNamespace | undefined,
    readonly form: WhiteoutForm,
    readonly volatile: boolean,
    /** An ephemeral upper is nobody's once it is given back. */
    private readonly kept: boolean,
    private readonly upper: Layer,
  ) {}

  /** A fresh name in the workdir. */
  temporary(): Name {
    this.counter++
    return `#${this.counter.toString(16)}`
  }

  /** Whether an upper's whiteouts are read in one form only, so that any name can be made there. */
  get declared(): boolean {
    return this.upper.form !== undefined
  }

  /** Whether the upper is kept in memory: there is no disk to wait for. */
  get inMemory(): boolean {
    return IN_MEMORY.has(statFs(this.upperFd))
  }

  syncUpper(): Result {
    return this.volatile ? 0 : syncfs(this.upperFd)
  }

  /** Ends the use of the upper: what is pending reaches the disk, the lock is given back. */
  close(): void {
    if (this.volatile && this.kept) {
      syncfs(this.upperFd)
      removeTree(this.fd, INCOMPAT)
    }
    for (const fd of [this.fd, this.upperFd, this.outerFd, this.index?.fd()]) if (fd !== undefined) close(fd)
  }

  /**
   * Takes an upper and its workdir into use.
   *
   * @param door leads to the workdir
   * @throws LayerfsError NO_SUCH_DIRECTORY, NOT_A_DIRECTORY, WORK_ON_OTHER_FILESYSTEM, WORK_IN_UPPER, UPPER_IN_USE,
   *   VOLATILE_DIRTY, UNSUPPORTED, IO
   */
  static open(upper: Layer, path: string, options: StackOptions, door?: Door): Workdir {
    const fds: number[] = []
    try {
      return Workdir.take(upper, path, options, fds, door)
    } catch (error) {
      for (const fd of fds) close(fd)
      throw error
    }
  }

  /** @param fds receives every descriptor as it is opened */
  private static take(
    upper: Layer,
    path: string,
    options: StackOptions,
    fds: number[],
    door: Door = { dirfd: AT_FDCWD, path: bytesOf(path) },
  ): Workdir {
    const keep = (fd: number): number => {
      fds.push(fd)
      return fd
    }
    const outer = keep(openDir(door.dirfd, door.path, path))
    const attr = new Attr()
    check(stat(outer, attr), 'look at', path)
    if (attr.dev !== upper.dev)
      throw new LayerfsError(
        'WORK_ON_OTHER_FILESYSTEM',
        `workdir ${path} is not on the filesystem of the upper ${upper.path}: give a directory beside the upper`,
        { path },
      )
    if (attr.ino === upper.ino)
      throw new LayerfsError(
        'WORK_IN_UPPER',
        `workdir ${path} is the upper itself: give a directory beside it`,
        { path },
      )
    const upperFd = keep(openDir(upper.root.fd(), '.', upper.path))
    for (const [fd, what] of [
      [upperFd, upper.path],
      [outer, path],
    ] as const)
      if (!lock(fd))
        throw new LayerfsError('UPPER_IN_USE', `${what} is in use by another mount: unmount that first`, {
          path: what,
        })
    const made = mkdirAt(outer, WORK, 0o700)
    if (made !== -EEXIST) check(made, 'make', `${path}/${WORK}`)
    const fd = keep(openDir(outer, WORK, `${path}/${WORK}`))
    clean(fd, path)
    check(removeTree(outer, LENT), 'remove', `${path}/${LENT}`)
    const namespace = probeNamespace(fd, options.xattrs, path)
    const form = probeForm(fd, upper, options.whiteouts)
    declareForm(upper, upperFd, namespace, form, options.whiteouts !== 'auto')
    // Nobody takes up an ephemeral upper again: it needs no marker.
    if (options.volatile && !options.ephemeral) {
      check(mkdirAt(fd, INCOMPAT, 0o700), 'make', `${path}/${WORK}/${INCOMPAT}`)
      check(mkdirAt(fd, `${INCOMPAT}/${VOLATILE}`, 0o700), 'make', `${path}/${WORK}/${INCOMPAT}/${VOLATILE}`)
    }
    const index = options.index ? Loc.root(upper, keep(openIndex(outer, path, namespace))) : undefined
    return new Workdir(
      bytesOf(path),
      fd,
      upperFd,
      outer,
      index,
      namespace,
      form,
      options.volatile,
      !options.ephemeral,
      upper,
    )
  }
}

/** How long a mount waits for the one before it, milliseconds: umount(8) returns before the daemon has ended. */
const PATIENCE_MS = 2000
const never = new Int32Array(new SharedArrayBuffer(4))

/** Takes a directory for one mount alone; false where another one keeps it. */
function lock(fd: number): boolean {
  for (const end = Date.now() + PATIENCE_MS; ; ) {
    if (flock(fd, LOCK_EX | LOCK_NB) !== -EAGAIN) return true
    if (Date.now() >= end) return false
    Atomics.wait(never, 0, 0, 10)
  }
}

function openDir(dirfd: number, name: Name, path: string): number {
  const fd = open(dirfd, name, O_RDONLY | O_DIRECTORY | (dirfd === AT_FDCWD ? 0 : O_NOFOLLOW))
  if (fd >= 0) return fd
  if (fd === -ENOENT)
    throw new LayerfsError('NO_SUCH_DIRECTORY', `no such directory: ${path}; create it or correct the path`, {
      errno: -fd,
      path,
    })
  if (fd === -ENOTDIR)
    throw new LayerfsError('NOT_A_DIRECTORY', `not a directory: ${path}`, { errno: -fd, path })
  throw new LayerfsError('ACCESS_DENIED', `cannot open ${path}: ${errnoText(fd)}`, { errno: -fd, path })
}

function check(r: Result, verb: string, path: string): void {
  if (r < 0) throw new LayerfsError('IO', `cannot ${verb} ${path}: ${errnoText(r)}`, { errno: -r, path })
}

/** Opens WORKDIR/index; drops entries of files that show no name any more. */
function openIndex(outer: number, path: string, namespace: OverlayNamespace | undefined): number {
  const made = mkdirAt(outer, INDEX, 0o700)
  if (made !== -EEXIST) check(made, 'make', `${path}/${INDEX}`)
  const fd = openDir(outer, INDEX, `${path}/${INDEX}`)
  const names: Name[] = []
  check(
    listDir(fd, (name) => names.push(name)),
    'list',
    `${path}/${INDEX}`,
  )
  const attr = new Attr()
  const xattr = overlayPrefix(namespace ?? 'trusted') + NLINK
  for (const name of names) {
    if (statAt(fd, name, attr) < 0 || (attr.mode & S_IFMT) === S_IFDIR || isWhiteoutDevice(attr)) continue
    const links = readXattr(fd, name, xattr)
    const count =
      typeof links === 'number' ? -1 : Number(/^U([+-]\d+)$/.exec(links.toString('latin1'))?.[1] ?? 0)
    if (attr.nlink + count <= 0) check(unlinkAt(fd, name), 'remove', `${path}/${INDEX}/${name}`)
  }
  return fd
}

/** Removes what an interrupted mount left; refuses after an interrupted volatile one. */
function clean(fd: number, path: string): void {
  const names: Name[] = []
  check(
    listDir(fd, (name) => names.push(name)),
    'list',
    `${path}/${WORK}`,
  )
  if (names.includes(INCOMPAT))
    throw new LayerfsError(
      'VOLATILE_DIRTY',
      `${path} was mounted volatile and not unmounted cleanly, so the upper may have lost writes: discard the upper, or remove ${path}/${WORK}/${INCOMPAT} to accept it as it is`,
      { path },
    )
  for (const name of names) check(removeTree(fd, name), 'remove', `${path}/${WORK}/${name}`)
}

function probeNamespace(
  fd: number,
  wanted: StackOptions['xattrs'],
  path: string,
): OverlayNamespace | undefined {
  const candidates: OverlayNamespace[] = wanted === 'auto' ? ['trusted', 'user'] : [wanted]
  let last: Result = 0
  for (const ns of candidates) {
    const xattr = `${overlayPrefix(ns)}layerfs.probe`
    last = setXattr(fd, '.', xattr, Buffer.from('y'))
    if (last === 0) {
      removeXattr(fd, '.', xattr)
      return ns
    }
  }
  if (wanted === 'auto' && last === -EOPNOTSUPP) return undefined
  throw new LayerfsError(
    'UNSUPPORTED',
    `${path} takes no ${candidates.join(' or ')} xattrs: ${errnoText(last)}`,
    {
      errno: -last,
      path,
    },
  )
}

function probeForm(fd: number, upper: Layer, wanted: StackOptions['whiteouts']): WhiteoutForm {
  const asked = wanted === 'auto' ? upper.form : wanted
  if (asked === 'oci') return 'oci'
  const able = canWriteDevices(fd)
  if (asked === 'overlay' && !able)
    throw new LayerfsError(
      'UNSUPPORTED',
      `the filesystem of ${upper.path} takes no char 0/0 whiteouts: use --whiteouts oci`,
      { path: upper.path },
    )
  return able ? 'overlay' : 'oci'
}

/** Whether both the device and RENAME_WHITEOUT work here. */
function canWriteDevices(fd: number): boolean {
  const [from, to] = ['#probe', '#probed']
  const able = mknodAt(fd, from, S_IFCHR, 0) === 0 && renameAt(fd, from, fd, to, RENAME_WHITEOUT) === 0
  unlinkAt(fd, from)
  unlinkAt(fd, to)
  return able
}

/** An empty upper, or one whose form the user names, is declared to have that form, so that `.wh.` names are free for files. */
function declareForm(
  upper: Layer,
  upperFd: number,
  namespace: OverlayNamespace | undefined,
  form: WhiteoutForm,
  explicit: boolean,
): void {
  if (upper.form !== undefined || namespace === undefined) return
  let empty = true
  const fd = openDir(upperFd, '.', upper.path)
  listDir(fd, () => {
    empty = false
  })
  close(fd)
  if (!empty && !explicit) return
  const xattr = namespace === 'trusted' ? FORM_XATTRS[0] : FORM_XATTRS[1]
  if (setXattr(upperFd, '.', xattr, Buffer.from(form)) === 0) upper.form = form
}

/** Removes a whiteout or a failed temporary file, whatever it is; nothing depends on it any more. */
export const discard = (workdir: Workdir, name: Name): Result => removeTree(workdir.fd, name)
