import * as L from '../../src/abi/linux.js'
import {
  type Attr,
  type Caller,
  type DirSink,
  Entry,
  type Fh,
  type Filesystem,
  type Name,
  type NodeId,
  type Opened,
  type Result,
  ROOT,
  type SetAttr,
  type StatFs,
} from '../../src/vfs.js'

/** A file, directory or other thing of the memory filesystem. */
interface Inode {
  id: NodeId
  mode: number
  uid: number
  gid: number
  nlink: number
  rdev: number
  atime: [number, number]
  mtime: [number, number]
  ctime: [number, number]
  data: Buffer
  target: string
  children: Map<Name, Inode>
  /** Names in the order of their cookies; a removed one leaves a hole. */
  order: (Name | undefined)[]
  xattrs: Map<Name, Buffer>
  lookups: number
}

const now = (): [number, number] => {
  const ms = Date.now()
  return [Math.floor(ms / 1000), (ms % 1000) * 1e6]
}

/** A small filesystem in memory behind the narrow waist, to test transports without an engine. */
export class MemFs implements Filesystem {
  private readonly inodes = new Map<NodeId, Inode>()
  private readonly handles = new Map<Fh, Inode>()
  private nextFh = 1
  private nextId = ROOT
  destroyed = false
  readonly calls: string[] = []

  constructor() {
    this.make(L.S_IFDIR | 0o755, 0, 0).nlink = 2
  }

  private make(mode: number, uid: number, gid: number): Inode {
    const time = now()
    const inode: Inode = {
      id: this.nextId++,
      mode,
      uid,
      gid,
      nlink: 1,
      rdev: 0,
      atime: time,
      mtime: time,
      ctime: time,
      data: Buffer.alloc(0),
      target: '',
      children: new Map(),
      order: [],
      xattrs: new Map(),
      lookups: 0,
    }
    this.inodes.set(inode.id, inode)
    return inode
  }

  /** Lookups that the kernel holds of a node: for tests of FORGET. */
  lookups(id: NodeId): number {
    return this.inodes.get(id)?.lookups ?? 0
  }

  get openFiles(): number {
    return this.handles.size
  }

  private stat(i: Inode, a: Attr): Result {
    a.ino = i.id
    a.mode = i.mode
    a.uid = i.uid
    a.gid = i.gid
    a.nlink = i.nlink
    a.rdev = i.rdev
    a.size = (i.mode & L.S_IFMT) === L.S_IFLNK ? i.target.length : i.data.length
    a.blocks = Math.ceil(a.size / 512)
    ;[a.atime, a.atimeNs] = i.atime
    ;[a.mtime, a.mtimeNs] = i.mtime
    ;[a.ctime, a.ctimeNs] = i.ctime
    a.btime = 1000
    a.btimeNs = 5
    return 0
  }

  private enter(i: Inode, out: Entry): Result {
    i.lookups++
    out.node = i.id
    out.generation = 0
    return this.stat(i, out.attr)
  }

  lookup(_c: Caller, parent: NodeId, name: Name, out: Entry): Result {
    const dir = this.inodes.get(parent)
    if (dir === undefined) return -L.ESTALE
    if (name === 'throw') throw new Error('as asked')
    if (name === 'enosys') return -L.ENOSYS
    const child = dir.children.get(name)
    return child === undefined ? -L.ENOENT : this.enter(child, out)
  }

  forget(node: NodeId, count: number): void {
    const i = this.inodes.get(node)
    if (i === undefined) return
    i.lookups -= count
    if (i.lookups <= 0 && i.nlink === 0) this.inodes.delete(node)
  }

  getattr(node: NodeId, _fh: Fh, out: Attr): Result {
    const i = this.inodes.get(node)
    return i === undefined ? -L.ESTALE : this.stat(i, out)
  }

  setattr(_c: Caller, node: NodeId, _fh: Fh, set: SetAttr, out: Attr): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    if (set.mode !== undefined) i.mode = (i.mode & L.S_IFMT) | (set.mode & 0o7777)
    if (set.uid !== undefined) i.uid = set.uid
    if (set.gid !== undefined) i.gid = set.gid
    if (set.size !== undefined) this.resize(i, set.size)
    if (set.atime !== undefined) i.atime = set.atimeNs === L.UTIME_NOW ? now() : [set.atime, set.atimeNs]
    if (set.mtime !== undefined) i.mtime = set.mtimeNs === L.UTIME_NOW ? now() : [set.mtime, set.mtimeNs]
    i.ctime = now()
    return this.stat(i, out)
  }

  private resize(i: Inode, size: number): void {
    if (size <= i.data.length) i.data = i.data.subarray(0, size)
    else {
      const grown = Buffer.alloc(size)
      i.data.copy(grown)
      i.data = grown
    }
    i.mtime = now()
  }

  readlink(node: NodeId, dst: Buffer): Result {
    const i = this.inodes.get(node)
    return i === undefined ? -L.ESTALE : dst.write(i.target, 'latin1')
  }

  private add(parent: NodeId, name: Name, make: () => Inode, out: Entry): Result {
    const dir = this.inodes.get(parent)
    if (dir === undefined) return -L.ESTALE
    if (name.length > L.NAME_MAX) return -L.ENAMETOOLONG
    if (dir.children.has(name)) return -L.EEXIST
    const child = make()
    dir.children.set(name, child)
    dir.order.push(name)
    dir.mtime = now()
    return this.enter(child, out)
  }

  private drop(dir: Inode, name: Name, child: Inode): void {
    dir.children.delete(name)
    dir.order[dir.order.indexOf(name)] = undefined
    dir.mtime = now()
    child.nlink = (child.mode & L.S_IFMT) === L.S_IFDIR ? 0 : child.nlink - 1
  }

  mknod(c: Caller, parent: NodeId, name: Name, mode: number, rdev: number, out: Entry): Result {
    const make = (): Inode => {
      const i = this.make(mode & ~c.umask, c.uid, c.gid)
      i.rdev = rdev
      return i
    }
    return this.add(parent, name, make, out)
  }

  mkdir(c: Caller, parent: NodeId, name: Name, mode: number, out: Entry): Result {
    return this.mknod(c, parent, name, L.S_IFDIR | mode, 0, out)
  }

  symlink(c: Caller, parent: NodeId, name: Name, target: Name, out: Entry): Result {
    const make = (): Inode => {
      const i = this.make(L.S_IFLNK | 0o777, c.uid, c.gid)
      i.target = target
      return i
    }
    return this.add(parent, name, make, out)
  }

  link(_c: Caller, node: NodeId, parent: NodeId, name: Name, out: Entry): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    const make = (): Inode => {
      i.nlink++
      return i
    }
    return this.add(parent, name, make, out)
  }

  private remove(parent: NodeId, name: Name, wantDir: boolean): Result {
    const dir = this.inodes.get(parent)
    const child = dir?.children.get(name)
    if (dir === undefined || child === undefined) return -L.ENOENT
    const isDir = (child.mode & L.S_IFMT) === L.S_IFDIR
    if (isDir !== wantDir) return wantDir ? -L.ENOTDIR : -L.EISDIR
    if (child.children.size > 0) return -L.ENOTEMPTY
    this.drop(dir, name, child)
    return 0
  }

  unlink(_c: Caller, parent: NodeId, name: Name): Result {
    return this.remove(parent, name, false)
  }

  rmdir(_c: Caller, parent: NodeId, name: Name): Result {
    return this.remove(parent, name, true)
  }

  rename(_c: Caller, parent: NodeId, name: Name, newParent: NodeId, newName: Name, flags: number): Result {
    this.calls.push(`rename ${name} ${newName} ${flags}`)
    const from = this.inodes.get(parent)
    const to = this.inodes.get(newParent)
    const child = from?.children.get(name)
    if (from === undefined || to === undefined || child === undefined) return -L.ENOENT
    const victim = to.children.get(newName)
    if (victim !== undefined && (flags & L.RENAME_NOREPLACE) !== 0) return -L.EEXIST
    if ((flags & ~L.RENAME_NOREPLACE) !== 0) return -L.EINVAL
    if (victim !== undefined) this.drop(to, newName, victim)
    const links = child.nlink
    this.drop(from, name, child)
    child.nlink = links
    to.children.set(newName, child)
    to.order.push(newName)
    return 0
  }

  private opened(i: Inode, out: Opened): Result {
    out.fh = this.nextFh++
    this.handles.set(out.fh, i)
    return 0
  }

  open(_c: Caller, node: NodeId, flags: number, _killPriv: boolean, out: Opened): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    if ((flags & L.O_TRUNC) !== 0) this.resize(i, 0)
    return this.opened(i, out)
  }

  create(
    c: Caller,
    parent: NodeId,
    name: Name,
    mode: number,
    _flags: number,
    entry: Entry,
    out: Opened,
  ): Result {
    const r = this.mknod(c, parent, name, mode, 0, entry)
    if (r < 0) return r
    return this.opened(this.inodes.get(entry.node) as Inode, out)
  }

  tmpfile(c: Caller, _parent: NodeId, mode: number, _flags: number, entry: Entry, out: Opened): Result {
    const i = this.make(mode & ~c.umask, c.uid, c.gid)
    i.nlink = 0
    this.enter(i, entry)
    return this.opened(i, out)
  }

  read(_node: NodeId, fh: Fh, dst: Buffer, pos: number): Result {
    const i = this.handles.get(fh)
    if (i === undefined) return -L.EBADF
    return pos >= i.data.length ? 0 : i.data.copy(dst, 0, pos)
  }

  write(_node: NodeId, fh: Fh, src: Buffer, pos: number, outsider: Caller | undefined): Result {
    const i = this.handles.get(fh)
    if (i === undefined) return -L.EBADF
    if (pos + src.length > i.data.length) this.resize(i, pos + src.length)
    src.copy(i.data, pos)
    i.mtime = now()
    if (outsider !== undefined) i.mode &= ~L.S_ISUID
    return src.length
  }

  flush(): Result {
    this.calls.push('flush')
    return 0
  }

  release(_node: NodeId, fh: Fh): void {
    this.handles.delete(fh)
  }

  fsync(): Result {
    this.calls.push('fsync')
    return 0
  }

  fsyncdir(): Result {
    return 0
  }

  fallocate(node: NodeId, _fh: Fh, mode: number, pos: number, len: number): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    if ((mode & L.FALLOC_FL_PUNCH_HOLE) !== 0) i.data.fill(0, pos, pos + len)
    else if (pos + len > i.data.length && (mode & L.FALLOC_FL_KEEP_SIZE) === 0) this.resize(i, pos + len)
    return 0
  }

  lseek(node: NodeId, _fh: Fh, pos: number, whence: number): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    if (pos >= i.data.length) return -L.ENXIO
    return whence === L.SEEK_DATA ? pos : i.data.length
  }

  copyFileRange(
    node: NodeId,
    _fh: Fh,
    pos: number,
    outNode: NodeId,
    outFh: Fh,
    outPos: number,
    len: number,
  ): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    this.calls.push('copyFileRange')
    return this.write(outNode, outFh, Buffer.from(i.data.subarray(pos, pos + len)), outPos, undefined)
  }

  readdir(_c: Caller, node: NodeId, cookie: number, sink: DirSink): Result {
    const dir = this.inodes.get(node)
    if (dir === undefined) return -L.ESTALE
    const entry = new Entry()
    for (let at = cookie; at < dir.order.length + 2; at++) {
      const name = at === 0 ? '.' : at === 1 ? '..' : dir.order[at - 2]
      if (name === undefined) continue
      if (!sink.room(name)) break
      const child = at < 2 ? dir : (dir.children.get(name) as Inode)
      const dtype = L.dtOfMode(child.mode)
      const plus = at >= 2 && sink.wants(dtype, false)
      if (plus) this.enter(child, entry)
      sink.add(name, child.id, dtype, at + 1, plus ? entry : undefined)
    }
    return 0
  }

  setxattr(_c: Caller, node: NodeId, name: Name, value: Buffer, flags: number): Result {
    const i = this.inodes.get(node)
    if (i === undefined) return -L.ESTALE
    if (flags === L.XATTR_CREATE && i.xattrs.has(name)) return -L.EEXIST
    if (flags === L.XATTR_REPLACE && !i.xattrs.has(name)) return -L.ENODATA
    i.xattrs.set(name, Buffer.from(value))
    return 0
  }

  getxattr(_c: Caller, node: NodeId, name: Name, dst: Buffer): Result {
    const value = this.inodes.get(node)?.xattrs.get(name)
    return value === undefined ? -L.ENODATA : fill(value, dst)
  }

  listxattr(_c: Caller, node: NodeId, dst: Buffer): Result {
    const names = [...(this.inodes.get(node)?.xattrs.keys() ?? [])].map((n) => `${n}\0`).join('')
    return fill(Buffer.from(names, 'latin1'), dst)
  }

  removexattr(_c: Caller, node: NodeId, name: Name): Result {
    return this.inodes.get(node)?.xattrs.delete(name) === true ? 0 : -L.ENODATA
  }

  statfs(_node: NodeId, out: StatFs): Result {
    out.bsize = out.frsize = 4096
    out.blocks = 1000
    out.bfree = out.bavail = 500
    out.files = 100
    out.ffree = 50
    out.namelen = L.NAME_MAX
    return 0
  }

  syncfs(): Result {
    return 0
  }

  destroy(): void {
    this.destroyed = true
  }

  status(): Record<string, unknown> {
    return { name: 'memfs', inodes: this.inodes.size }
  }
}

function fill(value: Buffer, dst: Buffer): Result {
  if (dst.length === 0) return value.length
  if (value.length > dst.length) return -L.ERANGE
  return value.copy(dst)
}
