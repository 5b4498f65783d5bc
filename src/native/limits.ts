/**
 * What this transport cannot carry, each with its reason. The conformance suite's exceptions go by these names, and
 * docs/transports.md tells the same list (a test holds it to that).
 */
export const LIMITS = {
  'caller-ids':
    'the binding hands on no uid, gid or pid of the caller: what is created is owned by the daemon, and sticky directories are judged by the kernel on that owner',
  umask:
    'the kernel applies the umask itself, so a default ACL does not replace it: libfuse 2 leaves FUSE_DONT_MASK out',
  'rename-flags': 'libfuse 2 does not know FUSE_RENAME2: NOREPLACE, EXCHANGE and WHITEOUT answer EINVAL',
  'byte-names':
    'the binding decodes names, symlink targets and xattr names from UTF-8 with losses: others are left out of listings, and answer EILSEQ',
  nanoseconds: 'times are carried in milliseconds, and none before 1970 is shown',
  'single-times':
    'libfuse 2 drops a utimens that sets only one of atime and mtime: it answers success and changes nothing',
  'hard-links':
    'libfuse 2 gives each name of a file an inode of its own: what is written through one name shows under another at its next open or stat, in a mapping of it not at once; attributes are not cached on a writable mount',
  'inode-numbers':
    'st_ino has 32 bits: longer numbers are hashed, so files of different filesystems may show the same one',
  acls: 'libfuse 2 leaves FUSE_POSIX_ACL out: ACLs are stored and shown, but the kernel judges access by the mode alone, and in a user namespace answers EOPNOTSUPP',
  tmpfile: 'libfuse 2 does not know FUSE_TMPFILE: O_TMPFILE answers EOPNOTSUPP',
  fallocate: 'the binding has no fallocate: EOPNOTSUPP, and no holes are punched',
  'file-flags': 'the binding has no ioctl: chattr and lsattr answer ENOTTY',
  holes: 'libfuse 2 does not know FUSE_LSEEK: the kernel takes a file to be all data',
  'copy-range':
    'libfuse 2 does not know FUSE_COPY_FILE_RANGE: the kernel copies by read and write, extents are not shared',
  'birth-times': 'libfuse 2 does not know FUSE_STATX: statx shows no birth time',
  syncfs: "libfuse 2 does not know FUSE_SYNCFS: syncfs writes the kernel's own pages, fsync goes through",
  readdirplus: 'libfuse 2 does not know FUSE_READDIRPLUS: attributes are asked for one by one',
  passthrough:
    'libfuse 2 does not know it: every read and write goes through the daemon, 128 KiB at most a time',
  seeking:
    'libfuse 2 takes a position in a listing for one in its buffer: who seeks to where no entry begins reads the end, or not what stands there',
  'removed-directories':
    'libfuse 2 finds no path to what is open in a directory that is gone: such a directory answers ENOENT to a listing, and one that holds an open, unlinked file answers ENOTEMPTY to rmdir until the file is closed',
  'hidden-names':
    'libfuse 2 renames an open file to .fuse_hidden and 16 hexadecimal digits to unlink it: a rename of an open file to such a name is taken for that',
  'own-mount':
    'the binding serves on the event loop of the main thread, and brings the process down from any other: synchronous calls of the same process on its own mount hang, and mounting from a worker thread is refused',
  parking:
    'no helper threads are lent to the engine here: an fsync or the copy-up of a large file holds up all other requests',
  'open-flags': "the binding does not tell create its flags: O_SYNC and O_APPEND are the kernel's to keep",
  notifications:
    'the binding has no fuse_lowlevel_notify_*: what the kernel has cached of changed layers goes with its timeout',
  memory:
    'libfuse 2 ends a thread when more than ten are idle, and the binding keeps 0.6 KB of each for ever: the more clients at once, the faster the daemon grows',
  'mount-options':
    'libfuse 2 knows ro, suid, dev, exec, atime, sync, dirsync and contexts: others are refused by name',
  platform: 'the package brings a build for linux-x64 only',
} as const

export type Limit = keyof typeof LIMITS
