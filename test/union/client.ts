/**
 * A caller of the engine without a kernel in between: paths are walked name by name, every lookup is counted, and what
 * fails throws an `Errno`. Paths are bytes (latin1), relative to the root, never following symlinks.
 */
import {
  DT_DIR,
  DT_UNKNOWN,
  EEXIST,
  EINVAL,
  ENOENT,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  PATH_MAX,
  XATTR_SIZE_MAX,
} from '../../src/abi/linux.js'
import { errnoName } from '../../src/errors.js'
import { type MountInput, withDefaults } from '../../src/options.js'
import { createUnion, type Transport, type Union } from '../../src/union/union.js'
import {
  Attr,
  type Caller,
  type DirSink,
  Entry,
  type Fh,
  type Name,
  NO_FH,
  type NodeId,
  Opened,
  type Result,
  ROOT,
  SetAttr,
} from '../../src/vfs.js'

export class Errno extends Error {
  readonly errno: number
  constructor(result: Result, call: string) {
    super(`${call}: ${errnoName(-result)}`)
    this.errno = -result
  }
}

export function ok(r: Result, call: string): number {
  if (r < 0) throw new Errno(r, call)
  return r
}

/** The errno that `action` fails with; 0 where it does not fail. */
export function errnoOf(action: () => unknown): number {
  try {
    action()
    return 0
  } catch (error) {
    if (error instanceof Errno) return error.errno
    throw error
  }
}

export interface Dirent {
  name: Name
  ino: number
  type: number
  /** Cookie of the entry after this one. */
  next: number
}

export const ROOT_CALLER: Caller = { uid: 0, gid: 0, pid: 1, umask: 0o022 }

export interface OpenFile {
  node: NodeId
  fh: Fh
}

const split = (path: Name): Name[] => path.split('/').filter((part) => part !== '')

export class Client {
  readonly fs: Union
  caller: Caller = ROOT_CALLER
  /** Lookups not yet given back, by node. */
  readonly lookups = new Map<NodeId, number>()

  constructor(input: MountInput, transport: Transport = { passthrough: false }) {
    const { mountpoint, ...options } = withDefaults({ mountpoint: '/', ...input })
    this.fs = createUnion(options, transport)
  }

  close(): void {
    this.fs.destroy()
  }

  private count(entry: Entry): Entry {
    if (entry.node > 0) this.lookups.set(entry.node, (this.lookups.get(entry.node) ?? 0) + 1)
    return entry
  }

  /** Gives every lookup back, as a kernel short of memory does. */
  forgetAll(): void {
    for (const [node, count] of this.lookups) this.fs.forget(node, count)
    this.lookups.clear()
  }

  status(key: string): unknown {
    return this.fs.status()[key]
  }

  entry(path: Name): Entry {
    let node = ROOT
    const out = new Entry()
    out.node = ROOT
    ok(this.fs.getattr(ROOT, NO_FH, out.attr), 'getattr')
    for (const name of split(path)) {
      const next = new Entry()
      ok(this.fs.lookup(this.caller, node, name, next), `lookup ${path}`)
      this.count(next)
      node = next.node
      Object.assign(out, { node: next.node, generation: next.generation })
      Object.assign(out.attr, next.attr)
    }
    return out
  }

  node(path: Name): NodeId {
    return this.entry(path).node
  }

  stat(path: Name): Attr {
    return this.statNode(this.node(path))
  }

  statNode(node: NodeId, fh: Fh = NO_FH): Attr {
    const attr = new Attr()
    ok(this.fs.getattr(node, fh, attr), 'getattr')
    return attr
  }

  exists(path: Name): boolean {
    try {
      this.entry(path)
      return true
    } catch (error) {
      if (error instanceof Errno && error.errno === ENOENT) return false
      throw error
    }
  }

  private at(path: Name): [NodeId, Name] {
    const parts = split(path)
    const name = parts.pop() as Name
    return [this.node(parts.join('/')), name]
  }

  private made(call: string, path: Name, make: (parent: NodeId, name: Name, out: Entry) => Result): Entry {
    const [parent, name] = this.at(path)
    const out = new Entry()
    ok(make(parent, name, out), `${call} ${path}`)
    return this.count(out)
  }

  mkdir(path: Name, mode = 0o755): Entry {
    return this.made('mkdir', path, (p, n, out) => this.fs.mkdir(this.caller, p, n, mode, out))
  }

  mknod(path: Name, mode: number, rdev = 0): Entry {
    return this.made('mknod', path, (p, n, out) => this.fs.mknod(this.caller, p, n, mode, rdev, out))
  }

  symlink(target: Name, path: Name): Entry {
    return this.made('symlink', path, (p, n, out) => this.fs.symlink(this.caller, p, n, target, out))
  }

  link(from: Name, to: Name): Entry {
    const node = this.node(from)
    return this.made('link', to, (p, n, out) => this.fs.link(this.caller, node, p, n, out))
  }

  readlink(path: Name): Name {
    const dst = Buffer.alloc(PATH_MAX)
    return dst.toString('latin1', 0, ok(this.fs.readlink(this.node(path), dst), `readlink ${path}`))
  }

  unlink(path: Name): void {
    const [parent, name] = this.at(path)
    ok(this.fs.unlink(this.caller, parent, name), `unlink ${path}`)
  }

  rmdir(path: Name): void {
    const [parent, name] = this.at(path)
    ok(this.fs.rmdir(this.caller, parent, name), `rmdir ${path}`)
  }

  rename(from: Name, to: Name, flags = 0): void {
    const [parent, name] = this.at(from)
    const [newParent, newName] = this.at(to)
    ok(this.fs.rename(this.caller, parent, name, newParent, newName, flags), `rename ${from} ${to}`)
  }

  setattr(path: Name, set: Partial<SetAttr>, file?: OpenFile): Attr {
    const attr = new Attr()
    const node = file?.node ?? this.node(path)
    const all = Object.assign(new SetAttr(), set)
    ok(this.fs.setattr(this.caller, node, file?.fh ?? NO_FH, all, attr), `setattr ${path}`)
    return attr
  }

  chmod(path: Name, mode: number): void {
    this.setattr(path, { mode })
  }

  open(path: Name, flags: number, mode = 0o644): OpenFile {
    const opened = new Opened()
    if ((flags & O_CREAT) !== 0) {
      const [parent, name] = this.at(path)
      const entry = new Entry()
      const kept = flags & ~(O_CREAT | O_EXCL)
      const r = this.fs.create(this.caller, parent, name, mode, kept, entry, opened)
      if (r >= 0) {
        this.count(entry)
        return { node: entry.node, fh: opened.fh }
      }
      if (r !== -EEXIST || (flags & O_EXCL) !== 0) throw new Errno(r, `create ${path}`)
    }
    const node = this.node(path)
    ok(this.fs.open(this.caller, node, flags & ~(O_CREAT | O_EXCL), false, opened), `open ${path}`)
    return { node, fh: opened.fh }
  }

  /** O_TMPFILE in a directory. */
  tmpfile(dir: Name, mode = 0o600): OpenFile {
    const entry = new Entry()
    const opened = new Opened()
    ok(this.fs.tmpfile(this.caller, this.node(dir), mode, O_RDWR, entry, opened), `tmpfile ${dir}`)
    this.count(entry)
    return { node: entry.node, fh: opened.fh }
  }

  /** Names an open file. */
  linkNode(node: NodeId, to: Name): Entry {
    return this.made('link', to, (p, n, out) => this.fs.link(this.caller, node, p, n, out))
  }

  pread(file: OpenFile, length: number, pos = 0): Buffer {
    const dst = Buffer.alloc(length)
    return dst.subarray(0, ok(this.fs.read(file.node, file.fh, dst, pos), 'read'))
  }

  pwrite(file: OpenFile, data: string | Buffer, pos = 0, outsider?: Caller, late = false): void {
    const src = Buffer.from(data)
    const n = ok(this.fs.write(file.node, file.fh, src, pos, outsider, late), 'write')
    if (n !== src.length) throw new Errno(-EINVAL, `short write: ${n}`)
  }

  release(file: OpenFile): void {
    this.fs.release(file.node, file.fh)
  }

  with<T>(path: Name, flags: number, use: (file: OpenFile) => T): T {
    const file = this.open(path, flags)
    try {
      return use(file)
    } finally {
      this.release(file)
    }
  }

  read(path: Name): Buffer {
    return this.with(path, O_RDONLY, (file) => this.pread(file, this.statNode(file.node).size))
  }

  text(path: Name): string {
    return this.read(path).toString('latin1')
  }

  /** Creates or empties a file and writes it. */
  write(path: Name, data: string | Buffer): void {
    this.with(path, O_WRONLY | O_CREAT | O_TRUNC, (file) => this.pwrite(file, data))
  }

  append(path: Name, data: string): void {
    const { size } = this.stat(path)
    this.with(path, O_WRONLY, (file) => this.pwrite(file, data, size))
  }

  /** Entries from a cookie on, `.` and `..` included. @param most how many fit */
  readdir(path: Name, cookie = 0, plus = false, most = Number.POSITIVE_INFINITY): Dirent[] {
    return this.readdirNode(this.node(path), cookie, plus, most)
  }

  readdirNode(node: NodeId, cookie = 0, plus = false, most = Number.POSITIVE_INFINITY): Dirent[] {
    const entries: Dirent[] = []
    const sink: DirSink = {
      room: () => entries.length < most,
      wants: () => plus,
      add: (name, ino, type, next, entry) => {
        if (entry !== undefined) this.count(entry)
        entries.push({ name, ino, type, next })
      },
    }
    ok(this.fs.readdir(this.caller, node, cookie, sink), 'readdir')
    return entries
  }

  /** Names of a directory, sorted. */
  list(path: Name = ''): Name[] {
    return this.readdir(path)
      .map(({ name }) => name)
      .filter((name) => name !== '.' && name !== '..')
      .sort()
  }

  setxattr(path: Name, xattr: Name, value: string | Buffer, flags = 0): void {
    const node = this.node(path)
    const bytes = Buffer.from(value)
    ok(this.fs.setxattr(this.caller, node, xattr, bytes, flags, false), `setxattr ${path} ${xattr}`)
  }

  getxattr(path: Name, xattr: Name): Buffer {
    const dst = Buffer.alloc(XATTR_SIZE_MAX)
    const n = ok(this.fs.getxattr(this.caller, this.node(path), xattr, dst), `getxattr ${path} ${xattr}`)
    return dst.subarray(0, n)
  }

  listxattr(path: Name): Name[] {
    const dst = Buffer.alloc(XATTR_SIZE_MAX)
    const n = ok(this.fs.listxattr(this.caller, this.node(path), dst), `listxattr ${path}`)
    return dst.toString('latin1', 0, n).split('\0').slice(0, -1)
  }

  removexattr(path: Name, xattr: Name): void {
    ok(this.fs.removexattr(this.caller, this.node(path), xattr), `removexattr ${path} ${xattr}`)
  }

  /** Calls `each` for `path` and all below it, directories before what they hold. Each entry's d_ino and d_type are checked. */
  walk(each: (path: Name, attr: Attr) => void, path: Name = ''): void {
    const attr = this.stat(path)
    each(path, attr)
    if (attr.mode >> 12 !== DT_DIR) return
    const children = this.readdir(path).sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const { name, ino, type } of children) {
      if (name === '..') continue
      const below = name === '.' ? path : path === '' ? name : `${path}/${name}`
      const { ino: shown, mode } = this.stat(below)
      if (ino !== shown) throw new Error(`${below || '/'}: d_ino ${ino} is not st_ino ${shown}`)
      if (type !== mode >> 12 || type === DT_UNKNOWN)
        throw new Error(`${below}: d_type ${type}, mode ${mode}`)
      if (name !== '.') this.walk(each, below)
    }
  }
}
