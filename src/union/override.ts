/**
 * Owner, mode and type kept in an xattr, for a daemon that may not set them: containers/storage's and fuse-overlayfs's
 * override_stat. On disk such a file belongs to the daemon and is regular, or a directory.
 */

import {
  EBADF,
  ENODATA,
  EOPNOTSUPP,
  ERANGE,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../abi/linux.js'
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  OVERRIDE_CONTAINERS,
  OVERRIDE_SECURITY,
  OVERRIDE_USER,
} from '../abi/overlay.js'
import { errnoText, LayerfsError } from '../errors.js'
import { close, open, pread, pwrite } from '../sys/file.js'
import { mkdirAt, mknodAt, readlinkAt, symlinkAt } from '../sys/name.js'
import { chmodAt, chmodPath, chownAt, makedev, statAt } from '../sys/stat.js'
import { getXattr, setXattr } from '../sys/xattr.js'
import { Attr, type Name, type Result } from '../vfs.js'

/** A layer whose files' owner, mode and type may be kept in an xattr. */
export interface Kept {
  /** The xattr's name; undefined where the files have them themselves. */
  readonly override?: string | undefined
}

/** The xattrs that may hold it. A layer uses the one that its root has. */
export const OVERRIDE_XATTRS: readonly string[] = [OVERRIDE_CONTAINERS, OVERRIDE_USER, OVERRIDE_SECURITY]

const TYPES: Readonly<Record<string, number>> = {
  file: S_IFREG,
  dir: S_IFDIR,
  symlink: S_IFLNK,
  pipe: S_IFIFO,
  socket: S_IFSOCK,
}
const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(TYPES).map(([name, type]) => [type, name]))

/** `uid:gid:octal mode`, then perhaps `:type`. The mode may carry the type, as S_IFMT has it. */
const FORM =
  /^(\d{1,10}):(\d{1,10}):([0-7]{1,7})(?::(?:(file|dir|symlink|pipe|socket)|(block|char)-(\d{1,8})-(\d{1,8})))?$/

const MAX_ID = 0xfffffffe

/** Reads a value into the attributes of the file that has it. @returns false, and nothing changed, where it makes no sense */
export function parseOverride(value: string, attr: Attr): boolean {
  const [, uid, gid, octal, word, device, major, minor] = FORM.exec(value) ?? []
  if (uid === undefined || Number(uid) > MAX_ID || Number(gid) > MAX_ID) return false
  const mode = Number.parseInt(octal as string, 8)
  const real = attr.mode & S_IFMT
  let type = (mode & S_IFMT) === 0 ? real : mode & S_IFMT
  if (word !== undefined) type = TYPES[word] as number
  if (device !== undefined) type = device === 'char' ? S_IFCHR : S_IFBLK
  // Only a regular file can stand for another type; a device must say which, and 0/0 would be a whiteout.
  if (type !== real && real !== S_IFREG) return false
  if (type === S_IFDIR && real !== S_IFDIR) return false
  if (real === S_IFREG && (type === S_IFCHR || type === S_IFBLK)) {
    const rdev = device === undefined ? 0 : makedev(Number(major), Number(minor))
    if (rdev === 0 || Number(major) > 0xfff || Number(minor) > 0xfffff) return false
    attr.rdev = rdev
    attr.size = 0
  } else if (![S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK].includes(type)) return false
  attr.uid = Number(uid)
  attr.gid = Number(gid)
  attr.mode = type | (mode & 0o7777)
  return true
}

/** The value for these attributes, as containers/storage writes it. */
export function formatOverride(attr: Attr): string {
  const type = attr.mode & S_IFMT
  const text = `${attr.uid}:${attr.gid}:0${(attr.mode & 0o7777).toString(8)}`
  if (type !== S_IFCHR && type !== S_IFBLK) return `${text}:${NAMES.get(type) ?? 'file'}`
  const minor = ((attr.rdev >>> 12) & 0xfff00) | (attr.rdev & 0xff)
  return `${text}:${type === S_IFCHR ? 'char' : 'block'}-${(attr.rdev >>> 8) & 0xfff}-${minor}`
}

const value = Buffer.alloc(128)

/** Puts what the xattr says in place of a file's own attributes; without one, or with one that makes no sense, they stay. */
export function refine(layer: Kept, dirfd: number, name: Name, attr: Attr): Result {
  const type = attr.mode & S_IFMT
  if (layer.override === undefined || (type !== S_IFREG && type !== S_IFDIR)) return 0
  let n = getXattr(dirfd, name, layer.override, value)
  if (n === -EBADF && name.length === 0) {
    // A descriptor that is a path only.
    const fd = open(-1, `/proc/self/fd/${dirfd}`, O_RDONLY)
    if (fd < 0) return fd
    n = getXattr(fd, '', layer.override, value)
    close(fd)
  }
  if (n >= 0) parseOverride(value.toString('latin1', 0, n), attr)
  else if (n !== -ENODATA && n !== -EOPNOTSUPP && n !== -ERANGE) return n
  return 0
}

/** stat(2) of a file of a layer. @param name empty: `dirfd` itself */
export function statIn(layer: Kept, dirfd: number, name: Name, out: Attr): Result {
  const r = statAt(dirfd, name, out)
  return r < 0 ? r : refine(layer, dirfd, name, out)
}

/**
 * The xattr of a layer: the one that its root has. An upper without one gets that of the mount.
 *
 * @param attr of the root. @throws LayerfsError UNSUPPORTED where an upper cannot have it
 */
export function overrideOf(
  fd: number,
  path: string,
  wanted: 'xattr' | 'security',
  attr: Attr,
  writable: boolean,
): string | undefined {
  const found = OVERRIDE_XATTRS.find((xattr) => getXattr(fd, '.', xattr, value) >= 0)
  if (found !== undefined || !writable) return found
  const override = wanted === 'security' ? OVERRIDE_SECURITY : OVERRIDE_CONTAINERS
  const r = store({ override }, fd, '.', attr)
  if (r < 0)
    throw new LayerfsError('UNSUPPORTED', `cannot keep owners in ${override} on ${path}: ${errnoText(r)}`, {
      errno: -r,
      path,
    })
  return override
}

const kept = new Attr()

function rewrite(layer: Kept, dirfd: number, name: Name, change: (attr: Attr) => void): Result {
  const r = statIn(layer, dirfd, name, kept)
  if (r < 0) return r
  change(kept)
  return store(layer, dirfd, name, kept)
}

function store(layer: Kept, dirfd: number, name: Name, attr: Attr): Result {
  const xattr = layer.override as string
  const text = Buffer.from(formatOverride(attr))
  const r = setXattr(dirfd, name, xattr, text)
  if (r !== -EBADF || name.length > 0) return r
  const fd = open(-1, `/proc/self/fd/${dirfd}`, O_RDONLY)
  if (fd < 0) return fd
  const again = setXattr(fd, '', xattr, text)
  close(fd)
  return again
}

/** chown(2) of a file of a layer: undefined keeps an id. */
export function setOwner(
  layer: Kept,
  dirfd: number,
  name: Name,
  uid: number | undefined,
  gid: number | undefined,
): Result {
  if (layer.override === undefined) return chownAt(dirfd, name, uid, gid)
  return rewrite(layer, dirfd, name, (attr) => {
    if (uid !== undefined) attr.uid = uid
    if (gid !== undefined) attr.gid = gid
  })
}

/** chmod(2) of a file of a layer. */
export function setMode(layer: Kept, dirfd: number, name: Name, mode: number): Result {
  if (layer.override === undefined)
    return name.length === 0 ? chmodPath(dirfd, mode) : chmodAt(dirfd, name, mode)
  return rewrite(layer, dirfd, name, (attr) => {
    attr.mode = (attr.mode & S_IFMT) | mode
  })
}

/** Owner, mode and type of a file just made, at once. @param mode with its type */
export function setIdentity(
  layer: Kept,
  dirfd: number,
  name: Name,
  uid: number,
  gid: number,
  mode: number,
  rdev: number,
): Result {
  if (layer.override === undefined) {
    const r = setOwner(layer, dirfd, name, uid, gid)
    return r < 0 || (mode & S_IFMT) === S_IFLNK ? r : setMode(layer, dirfd, name, mode & 0o7777)
  }
  Object.assign(kept, { uid, gid, mode, rdev })
  const r = store(layer, dirfd, name, kept)
  return r < 0 ? r : disguise(dirfd, name, mode)
}

/** On disk a file is never set-id nor writable by others, and always open to the daemon. */
function disguise(dirfd: number, name: Name, mode: number): Result {
  const isDir = (mode & S_IFMT) === S_IFDIR
  const bits = (mode & 0o755) | (isDir ? 0o700 : 0o600)
  return name.length === 0 ? chmodPath(dirfd, bits) : chmodAt(dirfd, name, bits)
}

/** Makes a directory, a symlink or a special file in a directory of a layer; setIdentity is to follow. */
export function makeIn(
  layer: Kept,
  dirfd: number,
  name: Name,
  mode: number,
  rdev: number,
  target: Name,
): Result {
  const type = mode & S_IFMT
  if (type === S_IFDIR) return mkdirAt(dirfd, name, layer.override === undefined ? mode & 0o7777 : 0o700)
  if (layer.override === undefined)
    return type === S_IFLNK ? symlinkAt(target, dirfd, name) : mknodAt(dirfd, name, mode, rdev)
  const fd = open(dirfd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
  if (fd < 0) return fd
  const text = Buffer.from(target, 'latin1')
  const r = text.length === 0 ? 0 : pwrite(fd, text, 0)
  close(fd)
  return Math.min(r, 0)
}

/** readlink(2) of a symlink of a layer. */
export function readLinkIn(layer: Kept, dirfd: number, name: Name, dst: Buffer): Result {
  if (layer.override !== undefined) {
    const r = statAt(dirfd, name, kept)
    if (r < 0) return r
    if ((kept.mode & S_IFMT) === S_IFREG) {
      const fd = open(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
      if (fd < 0) return fd
      const n = pread(fd, dst, 0)
      close(fd)
      return n
    }
  }
  return readlinkAt(dirfd, name, dst)
}

/** What containers/storage keeps `security.` xattrs under, which only root may set. */
const KEPT_SECURITY = 'user.containers.override_'
const isAcl = (xattr: Name): boolean => xattr === ACL_ACCESS || xattr === ACL_DEFAULT
const keepsSecurity = (layer: Kept): boolean =>
  layer.override !== undefined && layer.override !== OVERRIDE_SECURITY

/** The name on disk of an xattr; undefined where the layer cannot hold it: an ACL would need owners of its own. */
export function xattrOnDisk(layer: Kept, xattr: Name): Name | undefined {
  if (layer.override === undefined) return xattr
  if (isAcl(xattr) || OVERRIDE_XATTRS.includes(xattr) || xattr.startsWith(KEPT_SECURITY)) return undefined
  return keepsSecurity(layer) && xattr.startsWith('security.') ? KEPT_SECURITY + xattr : xattr
}

/** The name that an xattr on disk shows as; undefined where it is hidden. */
export function xattrShown(layer: Kept, xattr: Name): Name | undefined {
  if (layer.override === undefined) return xattr
  if (isAcl(xattr) || OVERRIDE_XATTRS.includes(xattr)) return undefined
  if (!keepsSecurity(layer)) return xattr
  if (xattr.startsWith(`${KEPT_SECURITY}security.`)) return xattr.slice(KEPT_SECURITY.length)
  return xattr.startsWith('security.') || xattr.startsWith(KEPT_SECURITY) ? undefined : xattr
}
