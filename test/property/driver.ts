/** The same operations on a plain directory (or any mount) and on the engine, with one way to fail. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import {
  EEXIST,
  EINVAL,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  O_CREAT,
  O_EXCL,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../src/abi/linux.js'
import { linkFd, mknod, removexattr, renameat2, setxattr, utimens } from '../support/sys.js'
import { type Facts, snapshot } from '../support/tree.js'
import { type Client, Errno, type OpenFile } from '../union/client.js'

/** Paths are relative, components joined by `/`; '' is the top. */
export interface Driver {
  /** Writes at an offset, creating where there is no file. */
  write(path: string, data: string, pos: number): void
  /** Creates or empties, then writes. */
  rewrite(path: string, data: string): void
  createNew(path: string, mode: number): void
  truncate(path: string, size: number): void
  mkdir(path: string, mode: number): void
  rmdir(path: string): void
  unlink(path: string): void
  rename(from: string, to: string, flags: number): void
  link(from: string, to: string): void
  symlink(path: string, target: string): void
  mknod(path: string, mode: number): void
  chmod(path: string, mode: number): void
  chown(path: string, uid: number, gid: number): void
  utimens(path: string, mtime: number, mtimeNs: number): void
  setxattr(path: string, name: string, value: string): void
  removexattr(path: string, name: string): void
  /** A nameless file, written, then named. */
  tmpfile(path: string, data: string): void
  facts(): Map<string, Partial<Facts>>
}

/** The errno an operation fails with, 0 where it does not. */
export function outcome(action: () => void): number {
  try {
    action()
    return 0
  } catch (error) {
    if (error instanceof Error && 'errno' in error && typeof error.errno === 'number')
      return Math.abs(error.errno)
    throw error
  }
}

const dirname = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** A directory of the machine: a plain one, or a mount. */
export class PathDriver implements Driver {
  constructor(readonly top: string) {}

  private at(path: string): string {
    return path === '' ? this.top : `${this.top}/${path}`
  }

  private withFd(path: string, flags: number, use: (fd: number) => void, mode = 0o644): void {
    const fd = fs.openSync(this.at(path), flags | fs.constants.O_NOFOLLOW, mode)
    try {
      use(fd)
    } finally {
      fs.closeSync(fd)
    }
  }

  write(path: string, data: string, pos: number): void {
    this.withFd(path, O_WRONLY | O_CREAT, (fd) => fs.writeSync(fd, data, pos))
  }
  rewrite(path: string, data: string): void {
    this.withFd(path, O_WRONLY | O_CREAT | O_TRUNC, (fd) => fs.writeSync(fd, data, 0))
  }
  createNew(path: string, mode: number): void {
    this.withFd(path, O_WRONLY | O_CREAT | O_EXCL, () => {}, mode)
  }
  truncate(path: string, size: number): void {
    this.withFd(path, O_WRONLY, (fd) => fs.ftruncateSync(fd, size))
  }
  mkdir(path: string, mode: number): void {
    fs.mkdirSync(this.at(path), mode)
  }
  rmdir(path: string): void {
    fs.rmdirSync(this.at(path))
  }
  unlink(path: string): void {
    fs.unlinkSync(this.at(path))
  }
  rename(from: string, to: string, flags: number): void {
    renameat2(this.at(from), this.at(to), flags)
  }
  link(from: string, to: string): void {
    fs.linkSync(this.at(from), this.at(to))
  }
  symlink(path: string, target: string): void {
    fs.symlinkSync(target, this.at(path))
  }
  mknod(path: string, mode: number): void {
    mknod(this.at(path), mode & ~0o022)
  }
  chmod(path: string, mode: number): void {
    fs.chmodSync(this.at(path), mode)
  }
  chown(path: string, uid: number, gid: number): void {
    fs.lchownSync(this.at(path), uid, gid)
  }
  utimens(path: string, mtime: number, mtimeNs: number): void {
    utimens(this.at(path), mtime, mtimeNs, mtime, mtimeNs)
  }
  setxattr(path: string, name: string, value: string): void {
    setxattr(this.at(path), name, value)
  }
  removexattr(path: string, name: string): void {
    removexattr(this.at(path), name)
  }
  tmpfile(path: string, data: string): void {
    this.withFd(
      dirname(path),
      O_TMPFILE | O_RDWR,
      (fd) => {
        fs.writeSync(fd, data, 0)
        linkFd(fd, this.at(path))
      },
      0o600,
    )
  }
  facts(): Map<string, Partial<Facts>> {
    return snapshot(this.top)
  }
}

/** The engine, called in this process. What the kernel checks before it asks a filesystem is checked here. */
export class EngineDriver implements Driver {
  constructor(readonly client: Client) {}

  private use(path: string, flags: number, use: (file: OpenFile) => void, mode = 0o644): void {
    const file = this.client.open(path, flags, mode)
    try {
      use(file)
    } finally {
      this.client.release(file)
    }
  }

  private directory(path: string): void {
    if ((this.client.stat(path).mode & S_IFMT) !== S_IFDIR) throw new Errno(-ENOTDIR, path)
  }

  write(path: string, data: string, pos: number): void {
    this.use(path, O_WRONLY | O_CREAT, (file) => this.client.pwrite(file, data, pos))
  }
  rewrite(path: string, data: string): void {
    this.use(path, O_WRONLY | O_CREAT | O_TRUNC, (file) => this.client.pwrite(file, data))
  }
  createNew(path: string, mode: number): void {
    this.use(path, O_WRONLY | O_CREAT | O_EXCL, () => {}, mode)
  }
  truncate(path: string, size: number): void {
    this.use(path, O_WRONLY, (file) => this.client.setattr(path, { size }, file))
  }
  mkdir(path: string, mode: number): void {
    // mkdir(2) takes no set-id bits.
    this.client.mkdir(path, mode & 0o1777)
  }
  rmdir(path: string): void {
    this.client.rmdir(path)
  }
  unlink(path: string): void {
    this.client.unlink(path)
  }
  rename(from: string, to: string, flags: number): void {
    this.directory(dirname(from))
    this.directory(dirname(to))
    this.client.entry(from)
    const there = this.client.exists(to)
    if ((flags & RENAME_NOREPLACE) !== 0 && there) throw new Errno(-EEXIST, 'rename')
    if ((flags & RENAME_EXCHANGE) !== 0 && !there) throw new Errno(-ENOENT, 'rename')
    if (`${to}/`.startsWith(`${from}/`) && to !== from) throw new Errno(-EINVAL, 'rename')
    if (from.startsWith(`${to}/`))
      throw new Errno((flags & RENAME_EXCHANGE) !== 0 ? -EINVAL : -ENOTEMPTY, 'rename')
    this.client.rename(from, to, flags)
  }
  link(from: string, to: string): void {
    const node = this.client.node(from)
    if (this.client.exists(to)) throw new Errno(-EEXIST, 'link')
    this.client.linkNode(node, to)
  }
  symlink(path: string, target: string): void {
    this.client.symlink(target, path)
  }
  mknod(path: string, mode: number): void {
    this.client.mknod(path, mode)
  }
  chmod(path: string, mode: number): void {
    this.client.chmod(path, mode)
  }
  chown(path: string, uid: number, gid: number): void {
    this.client.setattr(path, { uid, gid, killPriv: true })
  }
  utimens(path: string, mtime: number, mtimeNs: number): void {
    this.client.setattr(path, { atime: mtime, atimeNs: mtimeNs, mtime, mtimeNs })
  }
  setxattr(path: string, name: string, value: string): void {
    this.client.setxattr(path, name, value)
  }
  removexattr(path: string, name: string): void {
    this.client.removexattr(path, name)
  }
  tmpfile(path: string, data: string): void {
    const file = this.client.tmpfile(dirname(path))
    try {
      this.client.pwrite(file, data)
      this.client.linkNode(file.node, path)
    } finally {
      this.client.release(file)
    }
  }
  facts(): Map<string, Partial<Facts>> {
    const facts = new Map<string, Partial<Facts>>()
    const groups = new Map<number, string>()
    this.client.walk((path, attr) => {
      const type = attr.mode & S_IFMT
      if (!groups.has(attr.ino)) groups.set(attr.ino, path)
      facts.set(path, {
        mode: attr.mode.toString(8),
        uid: attr.uid,
        gid: attr.gid,
        size: type === S_IFDIR ? undefined : attr.size,
        mtime: `${attr.mtime}.${String(attr.mtimeNs).padStart(9, '0')}`,
        rdev: attr.rdev,
        target: type === S_IFLNK ? this.client.readlink(path) : undefined,
        sha256:
          type === S_IFREG ? createHash('sha256').update(this.client.read(path)).digest('hex') : undefined,
        xattrs: this.client
          .listxattr(path)
          .sort()
          .map((name) => `${name}=${this.client.getxattr(path, name).toString('hex')}`),
        nlink: type === S_IFDIR ? undefined : attr.nlink,
        group: groups.get(attr.ino) ?? path,
      })
    })
    return facts
  }
}
