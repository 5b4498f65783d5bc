/** The Linux Test Project's tests of system calls on files, and the short ones of its filesystem list. */
import fs from 'node:fs'
import path from 'node:path'
import type { Score, Suite } from './score.js'
import { type Place, run } from './systems.js'

/** The calls whose tests are run: an entry of `runtest/syscalls` is called by its call and a number. */
const CALLS = new Set(
  `access chdir chmod chown chroot close close_range copy_file_range creat dup execl execle execlp execv execve
  execveat execvp faccessat fallocate fanotify fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr
  file_attr flistxattr flock fpathconf fremovexattr fsetxattr fstat fstatat fstatfs fsync ftruncate futimesat getcwd
  getdents getxattr inotify inotify_init io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring
  ioctl_ficlone ioctl_ficlonerange ioctl_fiemap lchown lgetxattr link linkat listxattr llistxattr llseek lremovexattr
  lseek lstat madvise mincore mkdir mkdirat mknod mknodat mmap mprotect mremap msync munmap name_to_handle_at nftw open
  open_by_handle_at openat pathconf posix_fadvise pread preadv prot_hsymlinks pwrite pwritev read readahead readdir
  readlink readlinkat readv realpath remap_file_pages removexattr rename renameat rmdir sendfile setxattr splice stat
  statfs statvfs statx symlink symlinkat sync sync_file_range syncfs tee truncate ulimit umask unlink unlinkat utime
  utimensat utimes vmsplice write writev`.split(/\s+/),
)

/** Those of `runtest/fs` that are over within a minute or two and need no device. */
const FS =
  /^(gf0[2-5]|gf19|gf2[78]|fs_inod|openfile|inode|stream|ftest|lftest|writetest|linker|fs_di|acl_|rwtest05)/

/** Bits of a test's exit status. */
const [TFAIL, TBROK, TCONF] = [1, 2, 32]
/** The shell's, for a test that was not built. */
const NOT_FOUND = 127

const call = (tag: string): string => tag.replace(/_(64|16)$/, '').replace(/_?\d+[A-Z]?(_\d+)?$/, '')

/** @returns the chosen lines `TAG COMMAND` of the lists under `runtest/` */
function entries(installed: string): [tag: string, command: string][] {
  const list = (name: string): [string, string][] =>
    fs
      .readFileSync(path.join(installed, 'runtest', name), 'utf8')
      .split('\n')
      .map((line) => /^([\w-]+)\s+(.+)$/.exec(line))
      .flatMap((found) => (found === null ? [] : [[found[1] ?? '', found[2] ?? '']]))
  const calls = list('syscalls').filter(([tag]) => CALLS.has(call(tag).replace(/(?<=[a-z])[123]$/, '')))
  return [...calls, ...list('fs').filter(([tag]) => FS.test(tag))]
}

function score(installed: string, place: Place): Score {
  const result: Score = { ran: 0, failed: new Map() }
  fs.chmodSync(place.dir, 0o1777)
  const env = {
    LTPROOT: installed,
    PATH: `${path.join(installed, 'testcases/bin')}:${process.env.PATH}`,
    TMPDIR: place.dir,
    // Those that make filesystems of their own on loop devices make one, not each that the kernel has.
    LTP_SINGLE_FS_TYPE: 'ext4',
    LTP_COLORIZE_OUTPUT: '0',
  }
  for (const [tag, command] of entries(installed)) {
    // Tests that open all they may must find their own limit, not that of the daemon.
    const script = `ulimit -n 4096; ${command}`
    const { status, output } = run(['timeout', '-k', '5', '240', 'sh', '-c', script], {
      cwd: place.dir,
      minutes: 5,
      env,
    })
    if (status === TCONF || status === NOT_FOUND) continue
    result.ran++
    if (status !== null && (status & (TFAIL | TBROK)) === 0) continue
    const said = /^.*\b(?:TFAIL|TBROK|FAIL)\b.*$/m.exec(output)?.[0] ?? output.trim().split('\n').at(-1)
    result.failed.set(tag, `${status}: ${said}`)
  }
  return result
}

/** `merged` only: the tests make the files that they use. */
export const ltp: Suite = {
  name: 'ltp',
  variable: 'LTP',
  holds: 'runtest/syscalls',
  layouts: ['merged'],
  score,
}
