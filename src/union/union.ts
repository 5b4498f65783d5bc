/** The engine behind the waist: each method finds its nodes and hands over to the file that knows how. */

import { XATTR_WHICH } from '../abi/layerfs.js'
import {
  EBADF,
  EINVAL,
  ENOENT,
  EPERM,
  ERANGE,
  EROFS,
  ESTALE,
  O_DIRECTORY,
  O_RDONLY,
  S_IFDIR,
  S_IFLNK,
} from '../abi/linux.js'
import { close, fsync as fsyncFd, open as openFd } from '../sys/file.js'
import { stat, statFs } from '../sys/stat.js'
import { CAP_DAC_OVERRIDE, hasCapability } from '../sys/thread.js'
import {
  Attr,
  type Caller,
  type DirSink,
  type Entry,
  type Fh,
  type Filesystem,
  type Helpers,
  type Name,
  type NodeId,
  type Notifier,
  type Opened,
  type Result,
  type SetAttr,
  type StatFs,
} from '../vfs.js'
import { setattr } from './attr.js'
import { Core, type Policy } from './core.js'
import { create, link, make, tmpfile } from './create.js'
import * as file from './file.js'
import { flags } from './flags.js'
import { InodeNumbers } from './ino.js'
import type { Layer, UnionOptions } from './layer.js'
import { endLending } from './lent.js'
import { closeSome, openDirectories } from './loc.js'
import { forget, lookup, statNode } from './lookup.js'
import { Dir, letGo } from './node.js'
import { readLinkIn } from './override.js'
import { reachable } from './reach.js'
import { readdir } from './readdir.js'
import { rmdir, unlink } from './remove.js'
import { rename } from './rename.js'
import { reload, reset } from './reset.js'
import { rootLocs } from './resolve.js'
import { Shadow } from './shadow.js'
import { type OpenStack, openStack } from './stack.js'
import { which } from './which.js'
import { getxattr, listxattr, removexattr, setxattr } from './xattr.js'

/** What the transport tells the engine about itself. */
export interface Transport {
  /** The kernel may be handed files that stay where they are (FUSE_PASSTHROUGH), */
  passthrough: boolean
  /** and those of lowers that may yet be copied up. */
  lowers?: boolean
}

/**
 * Opens a stack as a filesystem. Do so before anything is mounted: the mountpoint may lie within a lower.
 *
 * @throws LayerfsError for every directory that will not do, with the reason
 */
export function createUnion(options: UnionOptions, transport: Transport): Union {
  const opened = openStack(options)
  const privileged = opened.workdir?.namespace === 'trusted'
  const policy: Policy = {
    passthrough: transport.passthrough,
    redirect: privileged && (options.redirect === 'on' || options.redirect === 'auto'),
    metacopy: privileged && options.metacopy,
    durable: !options.volatile && opened.workdir?.inMemory !== true,
    noatime: opened.noatime,
    unbarred: hasCapability(CAP_DAC_OVERRIDE),
  }
  return new Union(opened, policy, transport.lowers === true ? shadowsOf(opened) : undefined)
}

/** Shadows over all lowers of a stack that has an upper. Where one cannot be had the stack is closed. */
function shadowsOf({ stack, workdir, close }: OpenStack): Map<Layer, Shadow> | undefined {
  if (workdir === undefined) return undefined
  const shadows = new Map<Layer, Shadow>()
  try {
    for (const layer of stack.layers) if (!layer.writable) shadows.set(layer, Shadow.over(layer, workdir))
  } catch (error) {
    for (const shadow of shadows.values()) shadow.close()
    close()
    throw error
  }
  return shadows
}

export class Union implements Filesystem {
  private readonly core: Core
  private readonly root: Dir
  /** There where a lower may cease to answer while others go on. */
  readonly reachable?: (id: NodeId, since: number, whole: boolean) => Result

  constructor(
    private readonly opened: OpenStack,
    policy: Policy,
    shadows: ReadonlyMap<Layer, Shadow> | undefined,
  ) {
    const { layers } = opened.stack
    this.core = new Core(opened.stack, new InodeNumbers(layers), opened.workdir, policy, shadows)
    const lowers = layers.filter((layer) => !layer.writable)
    if (lowers.some((l) => l.reach !== undefined) && lowers.some((l) => l.reach === undefined)) {
      this.reachable = (id, since, whole) => {
        const node = this.core.node(id)
        return node === undefined ? 0 : reachable(this.core, node, since, whole)
      }
    }
    const top = layers[0] as Layer
    this.root = new Dir(this.core.table.nextId(), top.root, rootLocs(layers))
    this.root.lookups = Number.MAX_SAFE_INTEGER
    const attr = new Attr()
    stat((layers[layers[0]?.writable && layers.length > 1 ? 1 : 0] as Layer).root.fd(), attr)
    this.root.ino = this.core.numbers.shown(attr.dev, attr.ino)
    this.core.table.put(this.root)
  }

  lookup(_c: Caller, parent: NodeId, name: Name, out: Entry): Result {
    const dir = this.core.dir(parent)
    return typeof dir === 'number' ? dir : lookup(this.core, dir, name, out)
  }

  forget(id: NodeId, count: number): void {
    const node = this.core.node(id)
    if (node !== undefined && node !== this.root) forget(this.core, node, count)
  }

  getattr(id: NodeId, _fh: Fh, out: Attr): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : statNode(this.core, node, out)
  }

  setattr(c: Caller, id: NodeId, fh: Fh, set: SetAttr, out: Attr): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : setattr(this.core, c, node, fh, set, out)
  }

  readlink(id: NodeId, dst: Buffer): Result {
    const node = this.core.node(id)
    if (node === undefined) return -ESTALE
    if (node.type !== S_IFLNK) return -EINVAL
    if (node.adrift) return node.anchor < 0 ? -ENOENT : readLinkIn(node.container.layer, node.anchor, '', dst)
    const { home } = node
    const fd = home.fd()
    return fd < 0 ? fd : readLinkIn(home.layer, fd, node.homeName, dst)
  }

  mknod(c: Caller, parent: NodeId, name: Name, mode: number, rdev: number, out: Entry): Result {
    return this.change(parent, (dir) => make(this.core, c, dir, name, mode, rdev, '', out))
  }

  mkdir(c: Caller, parent: NodeId, name: Name, mode: number, out: Entry): Result {
    return this.change(parent, (dir) => make(this.core, c, dir, name, (mode & 0o7777) | S_IFDIR, 0, '', out))
  }

  symlink(c: Caller, parent: NodeId, name: Name, target: Name, out: Entry): Result {
    return this.change(parent, (dir) => make(this.core, c, dir, name, S_IFLNK | 0o777, 0, target, out))
  }

  link(_c: Caller, id: NodeId, parent: NodeId, name: Name, out: Entry): Result {
    const node = this.core.node(id)
    if (node === undefined) return -ESTALE
    return this.change(parent, (dir) => link(this.core, node, dir, name, out))
  }

  unlink(_c: Caller, parent: NodeId, name: Name): Result {
    return this.change(parent, (dir) => unlink(this.core, dir, name))
  }

  rmdir(_c: Caller, parent: NodeId, name: Name): Result {
    return this.change(parent, (dir) => rmdir(this.core, dir, name))
  }

  rename(_c: Caller, parent: NodeId, name: Name, newParent: NodeId, newName: Name, flags: number): Result {
    return this.change(parent, (from) =>
      this.change(newParent, (to) =>
        rename(this.core, { parent: from, name }, { parent: to, name: newName }, flags),
      ),
    )
  }

  open(c: Caller, id: NodeId, flags: number, killPriv: boolean, out: Opened): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : file.open(this.core, c, node, flags, killPriv, out)
  }

  create(
    c: Caller,
    parent: NodeId,
    name: Name,
    mode: number,
    flags: number,
    entry: Entry,
    out: Opened,
  ): Result {
    return this.change(parent, (dir) => create(this.core, c, dir, name, mode, flags, entry, out))
  }

  tmpfile(c: Caller, parent: NodeId, mode: number, flags: number, entry: Entry, out: Opened): Result {
    return this.change(parent, (dir) => tmpfile(this.core, c, dir, mode, flags, entry, out))
  }

  get readsUnopened(): boolean {
    return this.core.unopened !== undefined
  }

  read(id: NodeId, fh: Fh, dst: Buffer, pos: number): Result {
    return file.read(this.core, id, fh, dst, pos)
  }

  source(id: NodeId, fh: Fh): Result {
    return file.source(this.core, id, fh)
  }

  steadySource(id: NodeId, fh: Fh): Result {
    return file.steadySource(this.core, id, fh)
  }

  write(_id: NodeId, fh: Fh, src: Buffer, pos: number, outsider: Caller | undefined, late: boolean): Result {
    return file.write(this.core, fh, src, pos, outsider, late)
  }

  flush(_id: NodeId, fh: Fh): Result {
    return this.core.handles.get(fh) === undefined ? -EBADF : 0
  }

  release(_id: NodeId, fh: Fh): void {
    this.core.handles.release(fh)
  }

  fsync(_id: NodeId, fh: Fh, dataOnly: boolean): Result {
    return file.fsync(this.core, fh, dataOnly)
  }

  fsyncdir(id: NodeId): Result {
    const dir = this.core.dir(id)
    if (typeof dir === 'number') return dir
    if (!dir.inUpper || !this.core.policy.durable) return 0
    const path = dir.upperLoc.fd()
    const fd = path < 0 ? path : openFd(path, '.', O_RDONLY | O_DIRECTORY)
    if (fd < 0) return fd
    const r = fsyncFd(fd)
    close(fd)
    return r
  }

  fallocate(
    _id: NodeId,
    fh: Fh,
    mode: number,
    pos: number,
    len: number,
    outsider: Caller | undefined,
  ): Result {
    return file.fallocate(this.core, fh, mode, pos, len, outsider)
  }

  lseek(id: NodeId, fh: Fh, pos: number, whence: number): Result {
    return file.lseek(this.core, id, fh, pos, whence)
  }

  copyFileRange(
    _id: NodeId,
    fh: Fh,
    pos: number,
    _outId: NodeId,
    outFh: Fh,
    outPos: number,
    len: number,
    outsider: Caller | undefined,
  ): Result {
    return file.copyFileRange(this.core, fh, pos, outFh, outPos, len, outsider)
  }

  readdir(_c: Caller, id: NodeId, cookie: number, sink: DirSink): Result {
    const dir = this.core.dir(id)
    return typeof dir === 'number' ? dir : readdir(this.core, dir, cookie, sink)
  }

  setxattr(_c: Caller, id: NodeId, name: Name, value: Buffer, flags: number, killPriv: boolean): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : setxattr(this.core, node, name, value, flags, killPriv)
  }

  getxattr(_c: Caller, id: NodeId, name: Name, dst: Buffer): Result {
    const node = this.core.node(id)
    if (node === undefined) return -ESTALE
    if (name !== XATTR_WHICH) return getxattr(node, name, dst)
    const value = JSON.stringify(which(this.core, node))
    if (dst.length === 0) return Buffer.byteLength(value)
    return dst.length < Buffer.byteLength(value) ? -ERANGE : dst.write(value)
  }

  listxattr(_c: Caller, id: NodeId, dst: Buffer): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : listxattr(node, dst)
  }

  removexattr(_c: Caller, id: NodeId, name: Name): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : removexattr(this.core, node, name)
  }

  statfs(_id: NodeId, out: StatFs): Result {
    const r = statFs((this.core.stack.layers[0] as Layer).root.fd(), out)
    return Math.min(r, 0)
  }

  syncfs(): Result {
    return this.core.workdir?.syncUpper() ?? 0
  }

  destroy(): void {
    this.core.handles.closeAll()
    this.core.unopened?.closeAll()
    for (const node of this.core.table) {
      letGo(node)
      endLending(node)
    }
    for (const shadow of this.core.shadows?.values() ?? []) shadow.close()
    this.opened.close()
  }

  flags(id: NodeId, command: number, data: Buffer): Result {
    const node = this.core.node(id)
    return node === undefined ? -ESTALE : flags(this.core, node, command, data)
  }

  attach(notifier: Notifier): void {
    this.core.notifier = notifier
  }

  reset(): Result {
    return this.opened.ephemeral !== undefined ? reset(this.core, this.root, this.opened.renew) : -EPERM
  }

  reload(): Result {
    return this.opened.ephemeral !== undefined ? reload(this.core, this.root) : -EPERM
  }

  closeSome(): boolean {
    return closeSome()
  }

  employ(helpers: Helpers): void {
    this.core.helpers = helpers
  }

  status(): Record<string, unknown> {
    const { stack, workdir, table, handles, counters } = this.core
    return {
      layers: stack.layers.map((layer) => ({ path: layer.path, writable: layer.writable })),
      ephemeral: this.opened.ephemeral,
      whiteouts: workdir?.form,
      xattrs: workdir?.namespace,
      nodes: table.live - this.core.idle.size,
      idleDirectories: this.core.idle.size,
      openFiles: handles.open,
      openDirectories: openDirectories(),
      ...counters,
    }
  }

  /** Runs a change to a directory of a writable mount. */
  private change(id: NodeId, act: (dir: Dir) => Result): Result {
    if (this.core.workdir === undefined) return -EROFS
    const dir = this.core.dir(id)
    return typeof dir === 'number' ? dir : act(dir)
  }
}
