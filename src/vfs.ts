/**
 * The narrow waist between the engine (`union/`) and the transports (`fuse/`, `native/`).
 *
 * One method per kind of change or question, each synchronous: arguments in, `Result` out, larger answers in
 * out-parameters that the caller owns and reuses. Nothing here allocates or throws on the hot path.
 */

/** `>= 0`: success (a byte count, an offset, or 0). `< 0`: a negated errno, as `fuse_out_header.error` carries it. */
export type Result = number

/** A file name or path as bytes, one char a byte (latin1): Linux names are not text. */
export type Name = string

/** Identifies a file to the transport while its lookup count is above 0. The root is `ROOT`. At most 2^53. */
export type NodeId = number
export const ROOT: NodeId = 1

/** An open file. `NO_FH` where an operation has none. */
export type Fh = number
export const NO_FH: Fh = -1

/** Who asks: ids as the mount shows them, as `fuse_in_header` carries them. */
export interface Caller {
  uid: number
  gid: number
  pid: number
  /** umask(2) of the caller; meaningful for create, mknod and mkdir only. */
  umask: number
}

/** statx(2) of one file. Times are seconds and nanoseconds since the epoch, sizes bytes, `blocks` units of 512 bytes. */
export class Attr {
  /** Device of the file on disk, as `makedev` packs it. Not shown to callers. */
  dev = 0
  ino = 0
  mode = 0
  nlink = 0
  uid = 0
  gid = 0
  /** Device number of a device node, in the kernel's 32-bit `new_encode_dev` packing. */
  rdev = 0
  size = 0
  blocks = 0
  blksize = 4096
  atime = 0
  atimeNs = 0
  mtime = 0
  mtimeNs = 0
  ctime = 0
  ctimeNs = 0
  /** Birth time; 0 where the layer's filesystem keeps none. */
  btime = 0
  btimeNs = 0

  /** Takes over all of another's fields. */
  set(from: Attr): void {
    this.dev = from.dev
    this.ino = from.ino
    this.mode = from.mode
    this.nlink = from.nlink
    this.uid = from.uid
    this.gid = from.gid
    this.rdev = from.rdev
    this.size = from.size
    this.blocks = from.blocks
    this.blksize = from.blksize
    this.atime = from.atime
    this.atimeNs = from.atimeNs
    this.mtime = from.mtime
    this.mtimeNs = from.mtimeNs
    this.ctime = from.ctime
    this.ctimeNs = from.ctimeNs
    this.btime = from.btime
    this.btimeNs = from.btimeNs
  }
}

/** What lookup and the creating calls answer. Each success adds one to the node's lookup count. */
export class Entry {
  node: NodeId = 0
  /** Distinguishes reuses of one node id. */
  generation = 0
  readonly attr = new Attr()
}

/** What open, create and tmpfile answer. */
export class Opened {
  fh: Fh = NO_FH
  /**
   * A descriptor whose file the kernel may read and write without us (FUSE passthrough), or -1. The kernel opens that
   * file anew with the caller's O_* flags: writing included. While a node is open anywhere, all its opens use the
   * file of the first, so a node offers one only where its data will not move (no copy-up ahead), or one that leads to
   * the data wherever they are.
   */
  backing = -1
  /** Pages the kernel has cached of this file are still right. */
  keepCache = true
  /**
   * Bytes of a small file that the kernel has not seen yet and that nobody else has open: a transport may hand it the
   * pages along with the answer, which spares the READ that follows. 0: none.
   */
  preload = 0
}

/** setattr: `valid` says which fields count (FATTR_* of abi/fuse). */
export class SetAttr {
  mode: number | undefined
  uid: number | undefined
  gid: number | undefined
  size: number | undefined
  /** Seconds; `atimeNs` may be UTIME_NOW. */
  atime: number | undefined
  atimeNs = 0
  mtime: number | undefined
  mtimeNs = 0
  /** The kernel asks that set-user-id, set-group-id and capabilities be dropped (FUSE_HANDLE_KILLPRIV_V2). */
  killPriv = false
}

/** statfs(2). */
export class StatFs {
  bsize = 0
  frsize = 0
  blocks = 0
  bfree = 0
  bavail = 0
  files = 0
  ffree = 0
  namelen = 255
}

/** Receives directory entries, packing them straight into a reply. */
export interface DirSink {
  /** Whether an entry of this name still fits. Ask before `add`. */
  room(name: Name): boolean
  /**
   * Whether an entry of this type is wanted with its attributes: the engine then looks it up, as `lookup` does.
   *
   * @param held it has been looked up before, and not been forgotten since
   */
  wants(dtype: number, held: boolean): boolean
  /**
   * @param next cookie at which a later readdir goes on after this entry
   * @param entry attributes and node of an entry that is wanted with them; undefined where there are none (`.`, `..`)
   */
  add(name: Name, ino: number, dtype: number, next: number, entry: Entry | undefined): void
}

/**
 * Tells the kernel to forget what it has cached. `attributes` and `epoch` may be called from within a request; the
 * others are sent soon after, by another thread, since the kernel takes locks for them that a request may hold.
 */
export interface Notifier {
  /** A node's attributes are asked for anew. */
  attributes(node: NodeId): void
  /** Every name is asked for anew (since Linux 6.16; without effect before). */
  epoch(): void
  /** A node's cached pages from `pos` on; `length` 0: to the end. */
  pages(node: NodeId, pos: number, length: number): void
  /** One name, there or not. */
  entry(parent: NodeId, name: Name): void
  /** A name that is gone, with its node: watchers learn of it. */
  remove(parent: NodeId, child: NodeId, name: Name): void
}

/**
 * Answered by a method whose work a helper thread has taken over: the transport keeps the request and runs it again
 * each time a job ends, until it gets another answer. Nothing the request asks for has been done yet.
 */
export const PARKED: Result = -0x7fff

/** Work that would hold up everything else. The descriptors stay open until the job has ended. */
export type Job =
  /**
   * Gives the file `to`, which has the first `done` bytes, the rest of the `size` bytes of `from`, `dense` if without holes;
   * then, with `sync`, waits for the disk.
   */
  | { kind: 'copy'; from: number; to: number; size: number; dense: boolean; done: number; sync: boolean }
  | { kind: 'sync'; fd: number; dataOnly: boolean }
  /** Opens a file of a shadow to write, which has the kernel's overlayfs copy it up. */
  | { kind: 'raise'; fd: number }
  /** Has a file's filesystem answer. */
  | { kind: 'ask'; fd: number }
export type JobId = number

/** Threads that a transport lends an engine. */
export interface Helpers {
  /** Hands over a job. @returns -EAGAIN where no place is free: do it at once then */
  start(job: Job): JobId | Result
  /** PARKED while the job runs; then its result, once. */
  take(id: JobId): Result
  /** Whether anybody waits for the thread that asks. */
  awaited(): boolean
}

/**
 * A filesystem, one method per opcode. Permission bits are checked by the kernel (`default_permissions`), so no
 * method checks them; the ids of `Caller` own what is created.
 *
 * Errnos common to all: ESTALE for an unknown node, EBADF for an unknown handle, EROFS on a mount without an upper,
 * and whatever the layer's filesystem answers.
 */
export interface Filesystem {
  /** -ENOENT where there is no such name. */
  lookup(c: Caller, parent: NodeId, name: Name, out: Entry): Result
  /** The kernel drops `count` of the lookups it was given. */
  forget(node: NodeId, count: number): void
  getattr(node: NodeId, fh: Fh, out: Attr): Result
  setattr(c: Caller, node: NodeId, fh: Fh, set: SetAttr, out: Attr): Result
  /** @returns the length of the target, written to `dst` */
  readlink(node: NodeId, dst: Buffer): Result

  mknod(c: Caller, parent: NodeId, name: Name, mode: number, rdev: number, out: Entry): Result
  mkdir(c: Caller, parent: NodeId, name: Name, mode: number, out: Entry): Result
  symlink(c: Caller, parent: NodeId, name: Name, target: Name, out: Entry): Result
  link(c: Caller, node: NodeId, parent: NodeId, name: Name, out: Entry): Result
  unlink(c: Caller, parent: NodeId, name: Name): Result
  rmdir(c: Caller, parent: NodeId, name: Name): Result
  /** @param flags RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT: renameat2(2) */
  rename(c: Caller, parent: NodeId, name: Name, newParent: NodeId, newName: Name, flags: number): Result

  /**
   * @param flags O_* of open(2), without O_CREAT and O_EXCL; O_TRUNC truncates
   * @param killPriv with O_TRUNC: drop set-id bits and capabilities
   */
  open(c: Caller, node: NodeId, flags: number, killPriv: boolean, out: Opened): Result
  /** Atomic create and open. EEXIST where the name exists. */
  create(
    c: Caller,
    parent: NodeId,
    name: Name,
    mode: number,
    flags: number,
    entry: Entry,
    out: Opened,
  ): Result
  /** O_TMPFILE: a file without a name, which link() may name later. */
  tmpfile(c: Caller, parent: NodeId, mode: number, flags: number, entry: Entry, out: Opened): Result
  /** Whether `read`, `source`, `lseek` and `fsync` take NO_FH too: where nothing can be written, nobody has to open a file to read it. */
  readonly readsUnopened?: boolean
  /** Reads up to `dst.length` bytes. */
  read(node: NodeId, fh: Fh, dst: Buffer, pos: number): Result
  /** The descriptor that `read` reads, for a transport that has the kernel move the data. -EBADF */
  source?(node: NodeId, fh: Fh): Result
  /** The same for a file that changes only by an `open` to write or by a `setattr` of its size. -EBADF for every other */
  steadySource?(node: NodeId, fh: Fh): Result
  /**
   * @param outsider who writes without CAP_FSETID: set-id bits and capabilities go, as write(2) has it
   * @param late the kernel's own writing, of data that it kept: no time changes by it
   */
  write(node: NodeId, fh: Fh, src: Buffer, pos: number, outsider: Caller | undefined, late: boolean): Result
  flush(node: NodeId, fh: Fh): Result
  release(node: NodeId, fh: Fh): void
  fsync(node: NodeId, fh: Fh, dataOnly: boolean): Result
  fsyncdir(node: NodeId, dataOnly: boolean): Result
  /** @param outsider as for write */
  fallocate(
    node: NodeId,
    fh: Fh,
    mode: number,
    pos: number,
    len: number,
    outsider: Caller | undefined,
  ): Result
  /** SEEK_DATA and SEEK_HOLE. @returns the offset */
  lseek(node: NodeId, fh: Fh, pos: number, whence: number): Result
  copyFileRange(
    node: NodeId,
    fh: Fh,
    pos: number,
    outNode: NodeId,
    outFh: Fh,
    outPos: number,
    len: number,
    outsider: Caller | undefined,
  ): Result

  /** Lists from `cookie` (0: the start) until the sink is full. Cookies stay good while names come and go. */
  readdir(c: Caller, node: NodeId, cookie: number, sink: DirSink): Result

  /** @param flags XATTR_CREATE, XATTR_REPLACE. @param killPriv an ACL change also drops set-group-id */
  setxattr(c: Caller, node: NodeId, name: Name, value: Buffer, flags: number, killPriv: boolean): Result
  /** @returns the value's size, written to `dst`; with an empty `dst` the size alone. -ERANGE where it does not fit */
  getxattr(c: Caller, node: NodeId, name: Name, dst: Buffer): Result
  /** @returns the size of the list of NUL-ended names; as getxattr */
  listxattr(c: Caller, node: NodeId, dst: Buffer): Result
  removexattr(c: Caller, node: NodeId, name: Name): Result

  statfs(node: NodeId, out: StatFs): Result
  syncfs(): Result
  /** The mount is gone: finish what is pending and close everything. */
  destroy(): void

  /**
   * The flags of a file, as chattr(1) sets them. The kernel has checked the caller.
   * @param command FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
   * @param data the command's argument, read or written
   * @returns -ENOTTY for what is neither a file nor a directory
   */
  flags?(node: NodeId, command: number, data: Buffer): Result

  /** Gives the engine the means to tell the kernel what to forget. Called once, before the first request, where the transport can. */
  attach?(notifier: Notifier): void
  /**
   * Drops every change of an ephemeral upper while it stays mounted.
   * @returns how many open files have lost their names; -EPERM where the upper is kept
   */
  reset?(): Result
  /** Takes in what has been put into an ephemeral upper, emptied by reset, from outside. @returns as reset */
  reload?(): Result
  /**
   * Whether the filesystems beneath a node answer: PARKED while one has not since `since` (performance.now), when the request
   * about that node came. Called before a request is run, also when it is run again.
   * @param whole the request needs all that a directory is merged from; else its own attributes are enough
   */
  reachable?(node: NodeId, since: number, whole: boolean): Result
  /** Closes descriptors that can be opened again, where the process has no more to spare. @returns whether there were any */
  closeSome?(): boolean
  /** Lends the engine helper threads. Called once, before the first request, where the transport has any. */
  employ?(helpers: Helpers): void
  /** What the engine tells about itself in `layerfs.status`: layers, caches, copy-ups. Must survive JSON. */
  status?(): Record<string, unknown>
}
