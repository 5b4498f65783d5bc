/** Linux constants of x86-64 and arm64 that the engine and the transports speak. Sources: errno(3), open(2), statx(2), renameat2(2), fallocate(2), lseek(2), xattr(7). */

export const EPERM = 1
export const ENOENT = 2
export const EINTR = 4
export const EIO = 5
export const ENXIO = 6
export const E2BIG = 7
export const EBADF = 9
export const EAGAIN = 11
export const ENOMEM = 12
export const EACCES = 13
export const EBUSY = 16
export const EEXIST = 17
export const EXDEV = 18
export const ENODEV = 19
export const ENOTDIR = 20
export const EISDIR = 21
export const EINVAL = 22
export const EMFILE = 24
export const ENOTTY = 25
export const ETXTBSY = 26
export const EFBIG = 27
export const ENOSPC = 28
export const EROFS = 30
export const EMLINK = 31
export const ERANGE = 34
export const ENAMETOOLONG = 36
export const ENOSYS = 38
export const ENOTEMPTY = 39
export const ELOOP = 40
export const ENODATA = 61
export const EPROTO = 71
export const EOVERFLOW = 75
export const EILSEQ = 84
export const EOPNOTSUPP = 95
export const ENOTCONN = 107
export const ESTALE = 116

export const S_IFMT = 0o170000
export const S_IFSOCK = 0o140000
export const S_IFLNK = 0o120000
export const S_IFREG = 0o100000
export const S_IFBLK = 0o060000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFIFO = 0o010000
export const S_ISUID = 0o4000
export const S_ISGID = 0o2000
export const S_IXGRP = 0o010
export const S_ISVTX = 0o1000

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_ACCMODE = 3
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_NOCTTY = 0o400
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
export const O_NONBLOCK = 0o4000
export const O_DSYNC = 0o10000
export const O_DIRECT = process.arch === 'arm64' ? 0o200000 : 0o40000
export const O_LARGEFILE = process.arch === 'arm64' ? 0o400000 : 0o100000
export const O_DIRECTORY = process.arch === 'arm64' ? 0o40000 : 0o200000
export const O_NOFOLLOW = process.arch === 'arm64' ? 0o100000 : 0o400000
export const O_NOATIME = 0o1000000
export const O_CLOEXEC = 0o2000000
export const O_SYNC = 0o4010000
export const O_PATH = 0o10000000
export const O_TMPFILE = 0o20000000 | O_DIRECTORY

export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
export const AT_REMOVEDIR = 0x200
export const AT_SYMLINK_FOLLOW = 0x400
export const AT_NO_AUTOMOUNT = 0x800
export const AT_EMPTY_PATH = 0x1000

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const RENAME_WHITEOUT = 4

export const RESOLVE_NO_XDEV = 0x01
export const RESOLVE_NO_MAGICLINKS = 0x02
export const RESOLVE_NO_SYMLINKS = 0x04
export const RESOLVE_BENEATH = 0x08

export const XATTR_CREATE = 1
export const XATTR_REPLACE = 2
/** Longest xattr value and longest list of names, in bytes: xattr(7). */
export const XATTR_SIZE_MAX = 65536

export const FALLOC_FL_KEEP_SIZE = 0x01
export const FALLOC_FL_PUNCH_HOLE = 0x02
export const FALLOC_FL_COLLAPSE_RANGE = 0x08
export const FALLOC_FL_ZERO_RANGE = 0x10
export const FALLOC_FL_INSERT_RANGE = 0x20
export const FALLOC_FL_UNSHARE_RANGE = 0x40

export const SEEK_SET = 0
export const SEEK_CUR = 1
export const SEEK_END = 2
export const SEEK_DATA = 3
export const SEEK_HOLE = 4

/** Special nanosecond values of utimensat(2). */
export const UTIME_NOW = 0x3fffffff
export const UTIME_OMIT = 0x3ffffffe

export const NAME_MAX = 255
export const PATH_MAX = 4096

export const MS_RDONLY = 0x1
export const MS_NOSUID = 0x2
export const MS_NODEV = 0x4
export const MS_NOEXEC = 0x8
export const MS_SYNCHRONOUS = 0x10
export const MS_REMOUNT = 0x20
export const MS_DIRSYNC = 0x80
export const MS_NOATIME = 0x400
export const MS_NODIRATIME = 0x800
export const MS_BIND = 0x1000
export const MS_REC = 0x4000
export const MS_PRIVATE = 0x40000
export const MS_RELATIME = 0x200000
export const MS_STRICTATIME = 0x1000000
export const MNT_FORCE = 1
export const MNT_DETACH = 2
export const UMOUNT_NOFOLLOW = 8

/** A command of fcntl(2). */
export const F_DUPFD_CLOEXEC = 1030

/** ioctl(2) that shares one file's extents with another: ioctl_ficlone(2). */
export const FICLONE = 0x40049409

/** Flags of files, which chattr(1) sets: ioctl_iflags(2) and ioctl_xfs_fsgetxattr(2). The argument's size is in bits 16 to 29. */
export const FS_IOC_GETFLAGS = 0x80086601
export const FS_IOC_SETFLAGS = 0x40086602
export const FS_IOC_FSGETXATTR = 0x801c581f
export const FS_IOC_FSSETXATTR = 0x401c5820
export const FS_APPEND_FL = 0x20
export const FS_IMMUTABLE_FL = 0x10
export const FS_XFLAG_APPEND = 0x10
export const FS_XFLAG_IMMUTABLE = 0x8

/** d_type of a directory entry: readdir(3). */
export const DT_UNKNOWN = 0
export const DT_FIFO = 1
export const DT_CHR = 2
export const DT_DIR = 4
export const DT_BLK = 6
export const DT_REG = 8
export const DT_LNK = 10
export const DT_SOCK = 12

/** The d_type that belongs to a file mode: the S_IFMT bits, shifted (readdir(3)). */
export const dtOfMode = (mode: number): number => (mode & S_IFMT) >> 12
