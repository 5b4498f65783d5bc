/** libfuse's path-based operations, each carried out by the same `Filesystem` methods as the kernel's own requests. */
import { EBADF, EILSEQ, ENOTEMPTY, O_CREAT, O_EXCL, O_NOCTTY, O_RDWR, PATH_MAX } from '../abi/linux.js'
import {
  Attr,
  type Caller,
  type DirSink,
  Entry,
  type Filesystem,
  type Name,
  NO_FH,
  type NodeId,
  Opened,
  type Result,
  ROOT,
  SetAttr,
  StatFs,
} from '../vfs.js'
import { type Handle, Handles } from './handles.js'
import { packEntry, packStat, packStatFs } from './stat.js'
import { bytesOf, textOf } from './text.js'
import { splitPath, Walk } from './walk.js'
import type { Operations } from './wire.js'

/** chown's "leave it", as the binding hands it over: (uid_t) -1. */
const UNCHANGED = 0xffffffff

/** The name that libfuse 2 gives an open file instead of unlinking it: fuse_lib_unlink's `hide_node`. */
const HIDDEN = /^\.fuse_hidden[0-9a-f]{16}$/

export class Adapter implements Operations {
  readonly #fs: Filesystem
  readonly #caller: Caller
  readonly #walk: Walk
  readonly #handles = new Handles()
  readonly #attr = new Attr()
  readonly #entry = new Entry()
  readonly #opened = new Opened()
  readonly #set = new SetAttr()
  readonly #statfs = new StatFs()
  readonly #target = Buffer.alloc(PATH_MAX)

  /**
   * @param caller who owns what is created: the binding does not tell who asks
   * @param ttl milliseconds for which a path once found is trusted; 0 for ever
   */
  constructor(fs: Filesystem, caller: Caller, ttl: number, budget?: number) {
    this.#fs = fs
    this.#caller = caller
    this.#walk = new Walk(fs, caller, ttl, budget)
  }

  settle(): void {
    this.#walk.settle()
  }

  /** The mount is gone: closes what is open and gives every node back. */
  close(): void {
    for (const { node, fh } of this.#handles.drain()) {
      this.#fs.release(node, fh)
      this.#walk.release(node)
    }
    this.#walk.clear()
  }

  getattr(path: string, out: Uint32Array): Result {
    return this.#at(path, (node) => this.#stat(node, NO_FH, out))
  }

  fgetattr(_path: string, fd: number, out: Uint32Array): Result {
    return this.#with(fd, ({ node, fh }) => this.#stat(node, fh, out))
  }

  statfs(_path: string, out: Uint32Array): Result {
    const result = this.#fs.statfs(ROOT, this.#statfs)
    if (result >= 0) packStatFs(this.#statfs, out)
    return result
  }

  readdir(path: string, names: string[], entries: Uint32Array[]): Result {
    return this.#at(path, (node) => {
      const sink = new Listing(names, entries)
      for (let end = -1; end !== sink.cookie; ) {
        end = sink.cookie
        const result = this.#fs.readdir(this.#caller, node, sink.cookie, sink)
        if (result < 0) return result
      }
      return 0
    })
  }

  readlink(path: string): string | Result {
    const node = this.#walk.resolve(path)
    if (node < 0) return node
    const length = this.#fs.readlink(node, this.#target)
    if (length < 0) return length
    return textOf(this.#target.toString('latin1', 0, length)) ?? -EILSEQ
  }

  open(path: string, flags: number): Result {
    return this.#at(path, (node) => {
      const wanted = flags & ~(O_CREAT | O_EXCL | O_NOCTTY)
      const result = this.#fs.open(this.#caller, node, wanted, false, this.#opened)
      return result < 0 ? result : this.#keep(node)
    })
  }

  /** The binding does not tell the flags: the file is opened for both, and the kernel holds the caller to its own. */
  create(path: string, mode: number): Result {
    const result = this.#in(path, (parent, name) =>
      this.#fs.create(this.#caller, parent, name, mode, O_RDWR, this.#entry, this.#opened),
    )
    if (result < 0) return result
    this.#walk.adopt(path, this.#entry)
    return this.#keep(this.#entry.node)
  }

  read(fd: number, dst: Buffer, pos: number): Result {
    return this.#with(fd, ({ node, fh }) => this.#fs.read(node, fh, dst, pos))
  }

  write(fd: number, src: Buffer, pos: number): Result {
    return this.#with(fd, ({ node, fh }) => this.#fs.write(node, fh, src, pos, undefined, false))
  }

  flush(fd: number): Result {
    return this.#with(fd, ({ node, fh }) => this.#fs.flush(node, fh))
  }

  release(fd: number): Result {
    const handle = this.#handles.remove(fd)
    if (handle === undefined) return -EBADF
    this.#fs.release(handle.node, handle.fh)
    this.#walk.release(handle.node)
    return 0
  }

  fsync(fd: number, dataOnly: boolean): Result {
    return this.#with(fd, ({ node, fh }) => this.#fs.fsync(node, fh, dataOnly))
  }

  fsyncdir(path: string, dataOnly: boolean): Result {
    return this.#at(path, (node) => this.#fs.fsyncdir(node, dataOnly))
  }

  truncate(path: string, size: number): Result {
    return this.#at(path, (node) => {
      const set = this.#fresh()
      set.size = size
      return this.#setattr(node, NO_FH)
    })
  }

  ftruncate(fd: number, size: number): Result {
    return this.#with(fd, ({ node, fh }) => {
      const set = this.#fresh()
      set.size = size
      return this.#setattr(node, fh)
    })
  }

  utimens(path: string, atime: number, mtime: number): Result {
    return this.#at(path, (node) => {
      const set = this.#fresh()
      set.atime = Math.floor(atime / 1000)
      set.atimeNs = (atime - set.atime * 1000) * 1_000_000
      set.mtime = Math.floor(mtime / 1000)
      set.mtimeNs = (mtime - set.mtime * 1000) * 1_000_000
      return this.#setattr(node, NO_FH)
    })
  }

  chown(path: string, uid: number, gid: number): Result {
    return this.#at(path, (node) => {
      const set = this.#fresh()
      if (uid !== UNCHANGED) set.uid = uid
      if (gid !== UNCHANGED) set.gid = gid
      return this.#setattr(node, NO_FH)
    })
  }

  chmod(path: string, mode: number): Result {
    return this.#at(path, (node) => {
      const set = this.#fresh()
      set.mode = mode
      return this.#setattr(node, NO_FH)
    })
  }

  mknod(path: string, mode: number, rdev: number): Result {
    return this.#make(path, (parent, name) =>
      this.#fs.mknod(this.#caller, parent, name, mode, rdev, this.#entry),
    )
  }

  mkdir(path: string, mode: number): Result {
    return this.#make(path, (parent, name) => this.#fs.mkdir(this.#caller, parent, name, mode, this.#entry))
  }

  symlink(target: string, path: string): Result {
    const bytes = bytesOf(target)
    if (bytes === undefined) return -EILSEQ
    return this.#make(path, (parent, name) =>
      this.#fs.symlink(this.#caller, parent, name, bytes, this.#entry),
    )
  }

  link(from: string, to: string): Result {
    return this.#at(from, (node) =>
      this.#make(to, (parent, name) => this.#fs.link(this.#caller, node, parent, name, this.#entry)),
    )
  }

  unlink(path: string): Result {
    if (this.#walk.unhide(path)) return 0
    const result = this.#in(path, (parent, name) => this.#fs.unlink(this.#caller, parent, name))
    if (result >= 0) this.#walk.removed(path)
    return result
  }

  rmdir(path: string): Result {
    if (this.#walk.hides(path)) return -ENOTEMPTY
    const result = this.#in(path, (parent, name) => this.#fs.rmdir(this.#caller, parent, name))
    if (result >= 0) this.#walk.removed(path)
    return result
  }

  rename(from: string, to: string): Result {
    if (HIDDEN.test(splitPath(to).name)) {
      const node = this.#walk.resolve(from)
      if (node < 0) return node
      if (this.#handles.holds(node)) return this.#hide(from, to, node)
    }
    if (this.#walk.hides(to)) return -ENOTEMPTY
    const result = this.#in(from, (parent, name) =>
      this.#in(to, (newParent, newName) =>
        this.#fs.rename(this.#caller, parent, name, newParent, newName, 0),
      ),
    )
    if (result >= 0) this.#walk.moved(from, to)
    return result
  }

  setxattr(path: string, name: Name, value: Buffer, flags: number): Result {
    return this.#at(path, (node) => this.#fs.setxattr(this.#caller, node, name, value, flags, false))
  }

  getxattr(path: string, name: Name, dst: Buffer): Result {
    return this.#at(path, (node) => this.#fs.getxattr(this.#caller, node, name, dst))
  }

  listxattr(path: string, dst: Buffer): Result {
    return this.#at(path, (node) => this.#fs.listxattr(this.#caller, node, dst))
  }

  removexattr(path: string, name: Name): Result {
    return this.#at(path, (node) => this.#fs.removexattr(this.#caller, node, name))
  }

  /** Unlinks an open file, as was asked of libfuse, and answers for the name that libfuse has made up in its place. */
  #hide(from: string, to: string, node: NodeId): Result {
    const result = this.#in(from, (parent, name) => this.#fs.unlink(this.#caller, parent, name))
    if (result < 0) return result
    this.#walk.hide(to, node)
    this.#walk.removed(from)
    return 0
  }

  /** The engine makes files with exact modes: the program's own umask is put aside meanwhile. */
  #at(path: string, call: (node: NodeId) => Result): Result {
    const umask = process.umask(0)
    try {
      const node = this.#walk.resolve(path)
      return node < 0 ? node : call(node)
    } finally {
      process.umask(umask)
    }
  }

  #in(path: string, call: (parent: NodeId, name: Name) => Result): Result {
    const { parent, name } = splitPath(path)
    const bytes = bytesOf(name)
    if (bytes === undefined) return -EILSEQ
    return this.#at(parent, (node) => call(node, bytes))
  }

  #make(path: string, call: (parent: NodeId, name: Name) => Result): Result {
    const result = this.#in(path, call)
    if (result >= 0) this.#walk.adopt(path, this.#entry)
    return result
  }

  #with(fd: number, call: (handle: Handle) => Result): Result {
    const handle = this.#handles.get(fd)
    return handle === undefined ? -EBADF : call(handle)
  }

  #keep(node: NodeId): number {
    this.#walk.hold(node)
    return this.#handles.add(node, this.#opened.fh)
  }

  #stat(node: NodeId, fh: number, out: Uint32Array): Result {
    const result = this.#fs.getattr(node, fh, this.#attr)
    if (result >= 0) packStat(this.#attr, out)
    return result
  }

  #fresh(): SetAttr {
    const set = this.#set
    set.mode = undefined
    set.uid = undefined
    set.gid = undefined
    set.size = undefined
    set.atime = undefined
    set.mtime = undefined
    return set
  }

  #setattr(node: NodeId, fh: number): Result {
    return this.#fs.setattr(this.#caller, node, fh, this.#set, this.#attr)
  }
}

/** Gathers a whole directory. Names that the binding cannot carry are left out: it could not reach them either. */
class Listing implements DirSink {
  /** Where the next readdir goes on. */
  cookie = 0
  readonly #names: string[]
  readonly #entries: Uint32Array[]

  constructor(names: string[], entries: Uint32Array[]) {
    this.#names = names
    this.#entries = entries
  }

  room(): boolean {
    return true
  }

  wants(): boolean {
    return false
  }

  add(name: Name, ino: number, dtype: number, next: number): void {
    this.cookie = next
    const text = textOf(name)
    if (text === undefined) return
    this.#names.push(text)
    this.#entries.push(packEntry(ino, dtype))
  }
}
