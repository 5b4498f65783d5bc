/**
 * The FUSE kernel protocol, 7.31 to 7.45: opcodes, flags, struct sizes and field offsets. Source: linux/fuse.h, fuse(4).
 *
 * Offsets of `*_IN` are relative to the request's body, which follows the 40 bytes of fuse_in_header; offsets of
 * `*_OUT` to the reply's body, which follows the 16 bytes of fuse_out_header. All fields are little-endian here.
 */

export const FUSE_KERNEL_VERSION = 7
/** The newest minor version whose requests are understood. */
export const FUSE_KERNEL_MINOR_VERSION = 45
/** Linux 5.4; older kernels lack requests that the session counts on. */
export const FUSE_OLDEST_MINOR = 31

export const FUSE_LOOKUP = 1
export const FUSE_FORGET = 2
export const FUSE_GETATTR = 3
export const FUSE_SETATTR = 4
export const FUSE_READLINK = 5
export const FUSE_SYMLINK = 6
export const FUSE_MKNOD = 8
export const FUSE_MKDIR = 9
export const FUSE_UNLINK = 10
export const FUSE_RMDIR = 11
export const FUSE_RENAME = 12
export const FUSE_LINK = 13
export const FUSE_OPEN = 14
export const FUSE_READ = 15
export const FUSE_WRITE = 16
export const FUSE_STATFS = 17
export const FUSE_RELEASE = 18
export const FUSE_FSYNC = 20
export const FUSE_SETXATTR = 21
export const FUSE_GETXATTR = 22
export const FUSE_LISTXATTR = 23
export const FUSE_REMOVEXATTR = 24
export const FUSE_FLUSH = 25
export const FUSE_INIT = 26
export const FUSE_OPENDIR = 27
export const FUSE_READDIR = 28
export const FUSE_RELEASEDIR = 29
export const FUSE_FSYNCDIR = 30
export const FUSE_GETLK = 31
export const FUSE_SETLK = 32
export const FUSE_SETLKW = 33
export const FUSE_ACCESS = 34
export const FUSE_CREATE = 35
export const FUSE_INTERRUPT = 36
export const FUSE_BMAP = 37
export const FUSE_DESTROY = 38
export const FUSE_IOCTL = 39
export const FUSE_POLL = 40
export const FUSE_NOTIFY_REPLY = 41
export const FUSE_BATCH_FORGET = 42
export const FUSE_FALLOCATE = 43
export const FUSE_READDIRPLUS = 44
export const FUSE_RENAME2 = 45
export const FUSE_LSEEK = 46
export const FUSE_COPY_FILE_RANGE = 47
export const FUSE_SYNCFS = 50
export const FUSE_TMPFILE = 51
export const FUSE_STATX = 52
export const FUSE_COPY_FILE_RANGE_64 = 53
/** Opcodes are below this. */
export const OPCODES = 64

/** INIT flags, the low 32 bits. */
export const FUSE_ASYNC_READ = 1 << 0
export const FUSE_ATOMIC_O_TRUNC = 1 << 3
export const FUSE_BIG_WRITES = 1 << 5
export const FUSE_DONT_MASK = 1 << 6
export const FUSE_AUTO_INVAL_DATA = 1 << 12
export const FUSE_DO_READDIRPLUS = 1 << 13
export const FUSE_ASYNC_DIO = 1 << 15
export const FUSE_WRITEBACK_CACHE = 1 << 16
export const FUSE_NO_OPEN_SUPPORT = 1 << 17
export const FUSE_PARALLEL_DIROPS = 1 << 18
export const FUSE_POSIX_ACL = 1 << 20
export const FUSE_MAX_PAGES = 1 << 22
export const FUSE_CACHE_SYMLINKS = 1 << 23
export const FUSE_NO_OPENDIR_SUPPORT = 1 << 24
export const FUSE_EXPLICIT_INVAL_DATA = 1 << 25
export const FUSE_HANDLE_KILLPRIV_V2 = 1 << 28
export const FUSE_SETXATTR_EXT = 1 << 29
export const FUSE_INIT_EXT = 1 << 30

/** INIT flags, the high 32 bits (`flags2`), valid with FUSE_INIT_EXT. */
export const FUSE2_DIRECT_IO_ALLOW_MMAP = 1 << 4
export const FUSE2_PASSTHROUGH = 1 << 5

/** What names the flags have in status and logs. */
export const INIT_FLAG_NAMES: readonly (readonly [number, string])[] = [
  [FUSE_ASYNC_READ, 'async_read'],
  [FUSE_ATOMIC_O_TRUNC, 'atomic_o_trunc'],
  [FUSE_BIG_WRITES, 'big_writes'],
  [FUSE_DONT_MASK, 'dont_mask'],
  [FUSE_AUTO_INVAL_DATA, 'auto_inval_data'],
  [FUSE_DO_READDIRPLUS, 'readdirplus'],
  [FUSE_ASYNC_DIO, 'async_dio'],
  [FUSE_WRITEBACK_CACHE, 'writeback_cache'],
  [FUSE_PARALLEL_DIROPS, 'parallel_dirops'],
  [FUSE_POSIX_ACL, 'posix_acl'],
  [FUSE_MAX_PAGES, 'max_pages'],
  [FUSE_CACHE_SYMLINKS, 'cache_symlinks'],
  [FUSE_NO_OPEN_SUPPORT, 'no_open'],
  [FUSE_NO_OPENDIR_SUPPORT, 'no_opendir'],
  [FUSE_EXPLICIT_INVAL_DATA, 'explicit_inval_data'],
  [FUSE_HANDLE_KILLPRIV_V2, 'handle_killpriv_v2'],
  [FUSE_SETXATTR_EXT, 'setxattr_ext'],
  [FUSE_INIT_EXT, 'init_ext'],
]
export const INIT_FLAG2_NAMES: readonly (readonly [number, string])[] = [
  [FUSE2_DIRECT_IO_ALLOW_MMAP, 'direct_io_allow_mmap'],
  [FUSE2_PASSTHROUGH, 'passthrough'],
]

export const FOPEN_KEEP_CACHE = 1 << 1
export const FOPEN_CACHE_DIR = 1 << 3
/** Since 7.35: no FLUSH at close(2) of this file. Without effect under FUSE_WRITEBACK_CACHE. */
export const FOPEN_NOFLUSH = 1 << 5
export const FOPEN_PASSTHROUGH = 1 << 7

export const FATTR_MODE = 1 << 0
export const FATTR_UID = 1 << 1
export const FATTR_GID = 1 << 2
export const FATTR_SIZE = 1 << 3
export const FATTR_ATIME = 1 << 4
export const FATTR_MTIME = 1 << 5
export const FATTR_FH = 1 << 6
export const FATTR_ATIME_NOW = 1 << 7
export const FATTR_MTIME_NOW = 1 << 8
export const FATTR_KILL_SUIDGID = 1 << 11

export const FUSE_GETATTR_FH = 1 << 0
/** Of pages that the kernel kept: the file's times are the kernel's own, and follow by SETATTR where they have changed. */
export const FUSE_WRITE_CACHE = 1 << 0
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0
export const FUSE_FSYNC_FDATASYNC = 1 << 0
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0

/** Codes of messages that the daemon sends unasked; they travel in fuse_out_header.error with `unique` 0. */
export const FUSE_NOTIFY_INVAL_INODE = 2
export const FUSE_NOTIFY_INVAL_ENTRY = 3
export const FUSE_NOTIFY_STORE = 4
export const FUSE_NOTIFY_DELETE = 6
/** Since 7.44: every cached name is asked for again. */
export const FUSE_NOTIFY_INC_EPOCH = 8

/** _IOR(229, 0, uint32_t): a further descriptor of the same connection. */
export const FUSE_DEV_IOC_CLONE = 0x8004e500
/** _IOW(229, 1, struct fuse_backing_map) */
export const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501
/** _IOW(229, 2, uint32_t) */
export const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502

export const IN_HEADER = 40
export const OUT_HEADER = 16

/** struct fuse_in_header */
export const IN = { len: 0, opcode: 4, unique: 8, node: 16, uid: 24, gid: 28, pid: 32, extlen: 36 } as const
/** struct fuse_out_header */
export const OUT = { len: 0, error: 4, unique: 8 } as const

export const INIT_IN = { major: 0, minor: 4, maxReadahead: 8, flags: 12, flags2: 16, size: 64 } as const
export const INIT_OUT = {
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  maxBackground: 16,
  congestionThreshold: 18,
  maxWrite: 20,
  timeGran: 24,
  maxPages: 28,
  flags2: 32,
  maxStackDepth: 36,
  size: 64,
} as const

/** struct fuse_attr */
export const ATTR = {
  ino: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimeNs: 48,
  mtimeNs: 52,
  ctimeNs: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
  bytes: 88,
} as const

/** struct fuse_entry_out */
export const ENTRY_OUT = {
  node: 0,
  generation: 8,
  entryValid: 16,
  attrValid: 24,
  entryValidNs: 32,
  attrValidNs: 36,
  attr: 40,
  size: 128,
} as const
/** struct fuse_attr_out */
export const ATTR_OUT = { valid: 0, validNs: 8, attr: 16, size: 104 } as const
/** struct fuse_open_out; `backing` since 7.40 */
export const OPEN_OUT = { fh: 0, flags: 8, backing: 12, size: 16 } as const
/** struct fuse_kstatfs */
export const STATFS_OUT = {
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
  size: 80,
} as const
/** struct fuse_statx_out, with struct fuse_statx from `mask` on; since 7.39 */
export const STATX_OUT = {
  valid: 0,
  validNs: 8,
  mask: 32,
  blksize: 36,
  nlink: 48,
  uid: 52,
  gid: 56,
  mode: 60,
  ino: 64,
  size: 72,
  blocks: 80,
  atime: 96,
  btime: 112,
  ctime: 128,
  mtime: 144,
  rdevMajor: 160,
  rdevMinor: 164,
  bytes: 288,
} as const
export const STATX_BASIC_STATS = 0x7ff
export const STATX_BTIME = 0x800

/** struct fuse_dirent; the name follows, records are padded to 8 bytes */
export const DIRENT = { ino: 0, off: 8, namelen: 16, type: 20, name: 24 } as const

export const GETATTR_IN = { flags: 0, fh: 8, size: 16 } as const
export const SETATTR_IN = {
  valid: 0,
  fh: 8,
  fileSize: 16,
  atime: 32,
  mtime: 40,
  atimeNs: 56,
  mtimeNs: 60,
  mode: 68,
  uid: 76,
  gid: 80,
  size: 88,
} as const
export const MKNOD_IN = { mode: 0, rdev: 4, umask: 8, size: 16 } as const
export const MKDIR_IN = { mode: 0, umask: 4, size: 8 } as const
export const RENAME_IN = { newDir: 0, size: 8 } as const
export const RENAME2_IN = { newDir: 0, flags: 8, size: 16 } as const
export const LINK_IN = { node: 0, size: 8 } as const
export const OPEN_IN = { flags: 0, openFlags: 4, size: 8 } as const
export const CREATE_IN = { flags: 0, mode: 4, umask: 8, openFlags: 12, size: 16 } as const
export const READ_IN = { fh: 0, pos: 8, count: 16, flags: 32, size: 40 } as const
export const WRITE_IN = { fh: 0, pos: 8, count: 16, flags: 20, size: 40 } as const
/** struct fuse_release_in and fuse_flush_in */
export const FH_IN = { fh: 0, size: 24 } as const
export const FSYNC_IN = { fh: 0, flags: 8, size: 16 } as const
/** With FUSE_SETXATTR_EXT; 8 bytes without. */
export const SETXATTR_IN = { valueSize: 0, flags: 4, extFlags: 8, size: 16, compatSize: 8 } as const
export const GETXATTR_IN = { count: 0, size: 8 } as const
export const FALLOCATE_IN = { fh: 0, pos: 8, len: 16, mode: 24, size: 32 } as const
export const IOCTL_IN = { fh: 0, flags: 8, command: 12, arg: 16, inSize: 24, outSize: 28, size: 32 } as const
/** A result that the caller gets, and what only unrestricted ioctls use; the data follows. */
export const IOCTL_OUT = { result: 0, flags: 4, inVectors: 8, outVectors: 12, size: 16 } as const
export const LSEEK_IN = { fh: 0, pos: 8, whence: 16, size: 24 } as const
export const COPY_FILE_RANGE_IN = {
  fh: 0,
  pos: 8,
  outNode: 16,
  outFh: 24,
  outPos: 32,
  len: 40,
  flags: 48,
  size: 56,
} as const
export const STATX_IN = { flags: 0, fh: 8, size: 24 } as const
export const FORGET_IN = { count: 0, size: 8 } as const
/** `count` pairs of node and lookups of 16 bytes each follow. */
export const BATCH_FORGET_IN = { count: 0, size: 8, each: 16 } as const

/** struct fuse_notify_inval_inode_out */
export const INVAL_INODE_OUT = { node: 0, off: 8, len: 16, size: 24 } as const
/** struct fuse_notify_inval_entry_out; the name and a NUL follow */
export const INVAL_ENTRY_OUT = { parent: 0, namelen: 8, flags: 12, size: 16 } as const
/** struct fuse_notify_store_out; the data follow */
export const STORE_OUT = { node: 0, offset: 8, count: 16, size: 24 } as const
/** struct fuse_notify_delete_out; the name and a NUL follow */
export const DELETE_OUT = { parent: 0, child: 8, namelen: 16, size: 24 } as const
