/** The questions of `layerfs doctor`, each asked of the machine itself. */
import { spawnSync } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { release } from 'node:os'
import { delimiter, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { AT_FDCWD, O_PATH, S_IFCHR } from '../abi/linux.js'
import { errnoOf, errnoText, KINDS } from '../errors.js'
import { close, open } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { mknodAt } from '../sys/name.js'
import { CAP_SYS_ADMIN, hasCapability } from '../sys/thread.js'
import { setXattr } from '../sys/xattr.js'

export interface Finding {
  name: string
  /** `limited`: it works, at a price. */
  state: 'yes' | 'limited' | 'no'
  found: string
  means: string
  advice?: string
  /** The exit code of a mount that fails for want of this; absent where a mount does without. */
  blocks?: number
}

/** @param dir a directory of the filesystem that uppers will stand on */
export function probe(dir: string): Finding[] {
  const capable = hasCapability(CAP_SYS_ADMIN)
  return [device(), mounting(capable), namespaces(), passthrough(capable), ...upper(dir)]
}

/** Whether this process is in the machine's first user namespace: its map is the whole identity. */
const inInitialNamespace = (): boolean =>
  /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'))

function device(): Finding {
  const name = '/dev/fuse'
  const means = 'the kernel hands the requests of a mount to the daemon through it'
  try {
    closeSync(openSync('/dev/fuse', constants.O_RDWR))
    return { name, state: 'yes', found: 'can be opened', means }
  } catch (error) {
    const errno = errnoOf(error) ?? 0
    const missing = errnoText(errno).includes('ENOENT')
    return {
      name,
      state: 'no',
      found: errnoText(errno),
      means: `${means}; without it nothing can be mounted`,
      advice: missing
        ? 'load the module (modprobe fuse); in a container, pass the device (--device /dev/fuse)'
        : 'let this user open it: chmod 0666 /dev/fuse; in a container, pass the device (--device /dev/fuse)',
      blocks: missing ? KINDS.FUSE_MISSING[0] : KINDS.FUSE_DENIED[0],
    }
  }
}

/** The first executable of that name on PATH. */
function which(program: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((dir) => join(dir, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

function mounting(capable: boolean): Finding {
  const name = 'mounting'
  const helper = which('fusermount3')
  if (capable)
    return {
      name,
      state: 'yes',
      found: 'with mount(2), as this user has CAP_SYS_ADMIN',
      means: 'fusermount3 is not needed',
    }
  const means = 'a user without privilege mounts through this setuid helper'
  if (helper === undefined)
    return {
      name,
      state: 'no',
      found: 'fusermount3 is not on PATH',
      means,
      advice: 'install it (apt install fuse3), or mount within a user namespace (unshare -Ur --mount)',
      blocks: KINDS.FUSERMOUNT_MISSING[0],
    }
  const { mode, uid } = statSync(helper)
  if ((mode & constants.S_IFMT) === constants.S_IFREG && (mode & 0o4000) !== 0 && uid === 0)
    return { name, state: 'yes', found: `through ${helper}`, means }
  return {
    name,
    state: 'limited',
    found: `${helper} is not setuid root`,
    means: `${means}; unless it has file capabilities, it will be refused`,
    advice: `chown root ${helper} && chmod u+s ${helper}, or install fuse3 anew`,
  }
}

function namespaces(): Finding {
  const name = 'user namespaces'
  const means = 'a user without privilege can be root within one, to mount, chown and chroot'
  const run = spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'true'], {
    encoding: 'utf8',
    timeout: 10_000,
  })
  if (run.status === 0) return { name, state: 'yes', found: 'can be made', means }
  const why = run.error ? run.error.message : run.stderr.trim().replaceAll('\n', ' ')
  return {
    name,
    state: 'no',
    found: why,
    means: `${means}; mounts go through fusermount3 instead`,
    advice:
      'sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000 (or kernel.apparmor_restrict_unprivileged_userns=0)',
  }
}

function passthrough(capable: boolean): Finding {
  const name = 'passthrough'
  const means = 'the kernel reads and writes open files without the daemon, as fast as on the layer itself'
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const no = (found: string, advice: string): Finding => ({
    name,
    state: 'limited',
    found,
    means: `${means}; without it file data goes through the daemon`,
    advice,
  })
  if (major < 6 || (major === 6 && minor < 9))
    return no(`Linux ${release()} has none`, 'use Linux 6.9 or newer')
  const built = kernelConfig('CONFIG_FUSE_PASSTHROUGH')
  if (built === 'n') return no('this kernel is built without it', 'use a kernel with CONFIG_FUSE_PASSTHROUGH')
  if (!capable || !inInitialNamespace())
    return no('this user may not use it', 'mount as root of the machine, outside user namespaces')
  return built === undefined
    ? { name, state: 'limited', found: 'permitted; whether this kernel has it shows when mounting', means }
    : { name, state: 'yes', found: 'offered by this kernel and permitted', means }
}

/** A setting of the running kernel's configuration: `y`, `m`, `n`; undefined where the machine keeps none. */
function kernelConfig(setting: string): string | undefined {
  for (const file of ['/proc/config.gz', `/boot/config-${release()}`]) {
    let text: string
    try {
      const raw = readFileSync(file)
      text = (file.endsWith('.gz') ? gunzipSync(raw) : raw).toString('latin1')
    } catch {
      continue
    }
    return new RegExp(`^${setting}=(\\w)`, 'm').exec(text)?.[1] ?? 'n'
  }
  return undefined
}

/** What the filesystem of `dir` lets this user write: whiteouts and xattrs. */
function upper(dir: string): Finding[] {
  let scratch: string
  try {
    scratch = mkdtempSync(join(dir, 'layerfs-doctor-'))
  } catch (error) {
    const found = `cannot write in ${dir}: ${errnoText(errnoOf(error) ?? 0)}`
    return [
      {
        name: 'uppers',
        state: 'limited',
        found,
        means: 'an upper there is not possible',
        advice: 'choose another --dir',
      },
    ]
  }
  const fd = open(AT_FDCWD, bytesOf(scratch), O_PATH)
  try {
    return [
      whiteouts(mknodAt(fd, 'whiteout', S_IFCHR, 0), dir),
      xattrs('user', setXattr(fd, '.', 'user.overlay.doctor', Buffer.from('y')), dir),
      xattrs('trusted', setXattr(fd, '.', 'trusted.overlay.doctor', Buffer.from('y')), dir),
    ]
  } finally {
    close(fd)
    rmSync(scratch, { recursive: true, force: true })
  }
}

function whiteouts(result: number, dir: string): Finding {
  const name = 'whiteouts'
  const means = 'a deleted file of a lower is marked by a character device 0/0, as the kernel does'
  if (result >= 0) return { name, state: 'yes', found: `can be made in ${dir}`, means }
  return {
    name,
    state: 'limited',
    found: `mknod in ${dir}: ${errnoText(result)}`,
    means: `${means}; here .wh.NAME files are written, which the kernel's overlayfs does not read`,
    advice:
      'use Linux 5.8 or newer, and an upper on a filesystem of its own kind, not nodev and not a network',
  }
}

function xattrs(space: 'user' | 'trusted', result: number, dir: string): Finding {
  const name = `${space}.* xattrs`
  const means =
    space === 'user'
      ? 'opaque directories and redirects are marked so where the daemon is not root'
      : 'opaque directories and redirects are marked so where the daemon is root'
  if (result >= 0) return { name, state: 'yes', found: `can be set in ${dir}`, means }
  return {
    name,
    state: 'limited',
    found: `setxattr in ${dir}: ${errnoText(result)}`,
    means:
      space === 'user'
        ? `${means}; without them .wh..wh..opq files are written`
        : `${means}; else user.* serves`,
    ...(space === 'user'
      ? { advice: 'put uppers on ext4, xfs, btrfs, or on tmpfs of Linux 6.6 or newer' }
      : {}),
  }
}
