/** Attaches /dev/fuse to a directory: by mount(2) where that is allowed, else through fusermount3. And detaches it. */

import { spawnSync } from 'node:child_process'
import { realpathSync, statSync } from 'node:fs'
import * as L from '../abi/linux.js'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import { close, open } from '../sys/file.js'
import { mountAt, mount as mountCall, umount } from '../sys/mount.js'
import { receiveFd, socketPair } from '../sys/socket.js'
import { CAP_SYS_ADMIN, getegid, geteuid, hasCapability } from '../sys/thread.js'

const DEVICE = '/dev/fuse'
const HELPER = 'fusermount3'

/** How a mount was made; it is unmade the same way. */
export type Means = 'mount(2)' | 'fusermount3'

export interface Attached {
  /** The session's end of /dev/fuse. */
  fd: number
  means: Means
  /** Absolute and without symlinks. */
  mountpoint: string
}

export interface AttachOptions {
  mountpoint: string
  /** Words of mount(8), as MountOptions.kernelOptions. */
  kernelOptions: readonly string[]
  readOnly: boolean
  /** The kernel checks no permissions. Only where nobody but the user may enter. */
  unchecked?: boolean
  fsname?: string
  subtype?: string
}

/** Words of mount(8) that are flags of mount(2): set, or cleared, or none. */
const FLAGS: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [L.MS_RDONLY, 0],
  rw: [0, L.MS_RDONLY],
  nosuid: [L.MS_NOSUID, 0],
  suid: [0, L.MS_NOSUID],
  nodev: [L.MS_NODEV, 0],
  dev: [0, L.MS_NODEV],
  noexec: [L.MS_NOEXEC, 0],
  exec: [0, L.MS_NOEXEC],
  noatime: [L.MS_NOATIME, L.MS_STRICTATIME | L.MS_RELATIME],
  atime: [0, L.MS_NOATIME],
  nodiratime: [L.MS_NODIRATIME, 0],
  diratime: [0, L.MS_NODIRATIME],
  relatime: [L.MS_RELATIME, L.MS_NOATIME | L.MS_STRICTATIME],
  norelatime: [0, L.MS_RELATIME],
  strictatime: [L.MS_STRICTATIME, L.MS_NOATIME | L.MS_RELATIME],
  nostrictatime: [0, L.MS_STRICTATIME],
  sync: [L.MS_SYNCHRONOUS, 0],
  async: [0, L.MS_SYNCHRONOUS],
  dirsync: [L.MS_DIRSYNC, 0],
  // FUSE sends no times by itself, so there is nothing to be lazy about.
  lazytime: [0, 0],
  nolazytime: [0, 0],
}

/**
 * Mounts. The kernel's FUSE_INIT waits on the descriptor when this returns.
 *
 * @throws LayerfsError NO_SUCH_DIRECTORY, NOT_A_DIRECTORY, DEAD_MOUNT, MOUNTPOINT_BUSY for the mountpoint;
 *   FUSE_MISSING, FUSE_DENIED, FUSERMOUNT_MISSING, FUSERMOUNT_FAILED, MOUNT_FAILED
 */
export function attach(options: AttachOptions): Attached {
  const type = `fuse.${options.subtype ?? 'layerfs'}`
  const mountpoint = checkMountpoint(options.mountpoint, type)
  if (geteuid() === 0 || hasCapability(CAP_SYS_ADMIN)) {
    const fd = openDevice()
    const r = direct(fd, mountpoint, type, options)
    if (r >= 0) return { fd, means: 'mount(2)', mountpoint }
    close(fd)
    // A container's root without CAP_SYS_ADMIN: what follows will say so, if it cannot help either.
    if (r !== -L.EPERM) throw mountFailed(mountpoint, r)
    if (geteuid() === 0) {
      const what = 'mounting is not permitted here: it takes CAP_SYS_ADMIN, or a user namespace of its own'
      throw new LayerfsError('FUSE_DENIED', what, { errno: L.EPERM, path: mountpoint })
    }
  }
  return { fd: throughHelper(mountpoint, type, options), means: 'fusermount3', mountpoint }
}

function checkMountpoint(path: string, type: string): string {
  try {
    const real = realpathSync.native(path)
    if (!statSync(real).isDirectory()) {
      const what = `${path} is not a directory: give a directory to mount on`
      throw new LayerfsError('NOT_A_DIRECTORY', what, { errno: L.ENOTDIR, path })
    }
    if (mountAt(real)?.type === type) {
      const what = `${path} has a ${type} mounted on it already: unmount it first (layerfs umount ${path})`
      throw new LayerfsError('MOUNTPOINT_BUSY', what, { errno: L.EBUSY, path })
    }
    return real
  } catch (error) {
    const errno = errnoOf(error)
    if (error instanceof LayerfsError || errno === undefined) throw error
    if (errno === L.ENOTCONN) {
      const what = `${path} is a mount whose daemon is gone: clear it with layerfs umount --stale ${path}`
      throw new LayerfsError('DEAD_MOUNT', what, { errno, path })
    }
    if (errno === L.ENOENT) {
      const what = `no such mountpoint: ${path}: make the directory first`
      throw new LayerfsError('NO_SUCH_DIRECTORY', what, { errno, path })
    }
    const code = errno === L.ENOTDIR ? 'NOT_A_DIRECTORY' : 'ACCESS_DENIED'
    throw new LayerfsError(code, `cannot use the mountpoint ${path}: ${errnoText(errno)}`, { errno, path })
  }
}

/** Opened and closed by the system's own calls: node closes what a worker thread has opened once that thread ends. */
function openDevice(): number {
  const fd = open(L.AT_FDCWD, DEVICE, L.O_RDWR)
  if (fd >= 0) return fd
  const errno = -fd
  if (errno === L.ENOENT || errno === L.ENODEV || errno === L.ENXIO) {
    const what = `there is no ${DEVICE}: load the fuse module (modprobe fuse), or give the container the device`
    throw new LayerfsError('FUSE_MISSING', what, { errno, path: DEVICE })
  }
  const what = `${DEVICE} may not be opened: ${errnoText(errno)}; it has to be readable and writable here`
  throw new LayerfsError('FUSE_DENIED', what, { errno, path: DEVICE })
}

/** Words for the kernel's FUSE that are no flags. allow_root is checked by the session. */
function words(options: AttachOptions, byRoot: boolean): string[] {
  const data = new Set(options.unchecked ? [] : ['default_permissions'])
  if (byRoot) data.add('allow_other')
  for (const word of options.kernelOptions) {
    if (FLAGS[word] !== undefined) continue
    data.add(word === 'allow_root' ? 'allow_other' : word)
  }
  return [...data]
}

/** A security context may hold commas, which the kernel then wants within quotes. */
const quoted = (word: string): string =>
  word.includes(',') ? word.replace(/^(\w*context)=(.*)$/s, '$1="$2"') : word

/** The flags of mount(2) that words of mount(8) stand for; the last one counts. */
function flagsOf(words: readonly string[]): number {
  let flags = 0
  for (const word of words) {
    const [set, clear] = FLAGS[word] ?? [0, 0]
    flags = (flags & ~clear) | set
  }
  return flags
}

/**
 * Changes the flags of a mount to those that words of mount(8) stand for: `ro` refuses while files are open for writing.
 * All flags are given anew. Other words change nothing.
 *
 * @throws LayerfsError MOUNT_FAILED, FUSE_DENIED
 */
export function remount(mountpoint: string, kernelOptions: readonly string[]): void {
  const r = mountCall('none', mountpoint, '', flagsOf(kernelOptions) | L.MS_REMOUNT, '')
  if (r >= 0) return
  const errno = -r
  const detail = { errno, path: mountpoint }
  if (errno === L.EPERM) {
    const what = `remounting ${mountpoint} is not permitted: it takes CAP_SYS_ADMIN where it was mounted`
    throw new LayerfsError('FUSE_DENIED', what, detail)
  }
  const hint = errno === L.EBUSY ? ': files are open for writing; close them first' : ''
  throw new LayerfsError(
    'MOUNT_FAILED',
    `remounting ${mountpoint} failed: ${errnoText(errno)}${hint}`,
    detail,
  )
}

function direct(fd: number, mountpoint: string, type: string, options: AttachOptions): number {
  const flags = flagsOf(options.kernelOptions) | (options.readOnly ? L.MS_RDONLY : 0)
  const ids = `user_id=${geteuid()},group_id=${getegid()}`
  const data = [
    `fd=${fd}`,
    `rootmode=${L.S_IFDIR.toString(8)}`,
    ids,
    ...words(options, true).map(quoted),
  ].join(',')
  return mountCall(options.fsname ?? 'layerfs', mountpoint, type, flags, data)
}

function mountFailed(mountpoint: string, result: number): LayerfsError {
  const errno = -result
  if (errno === L.ENODEV) {
    const what = 'this kernel has no FUSE: load the fuse module (modprobe fuse)'
    return new LayerfsError('FUSE_MISSING', what, { errno, path: mountpoint })
  }
  const hint = errno === L.EINVAL ? '; a mount option may be unknown to this kernel' : ''
  const what = `mounting on ${mountpoint} failed: ${errnoText(errno)}${hint}`
  return new LayerfsError('MOUNT_FAILED', what, { errno, path: mountpoint })
}

/** Commas and backslashes within a value of an -o list. */
const escaped = (word: string): string => word.replace(/[\\,]/g, '\\$&')

/** Mounts through the setuid helper, which hands the descriptor over a socket. */
function throughHelper(mountpoint: string, type: string, options: AttachOptions): number {
  const pair = socketPair()
  if (typeof pair === 'number') throw mountFailed(mountpoint, pair)
  const [ours, theirs] = pair
  try {
    const list = [
      `fsname=${escaped(options.fsname ?? 'layerfs')}`,
      `subtype=${type.slice('fuse.'.length)}`,
      ...words(options, false),
      ...options.kernelOptions.filter((word) => FLAGS[word] !== undefined && !word.endsWith('lazytime')),
      ...(options.readOnly ? ['ro'] : []),
    ]
    const ran = spawnSync(HELPER, ['-o', list.join(','), '--', mountpoint], {
      stdio: ['ignore', 'ignore', 'pipe', theirs],
      env: { ...process.env, _FUSE_COMMFD: '3' },
    })
    close(theirs)
    if (ran.error !== undefined) throw helperMissing(ran.error)
    if (ran.status !== 0) throw helperFailed(mountpoint, ran.stderr.toString())
    const fd = receiveFd(ours)
    if (fd === undefined || fd < 0) throw helperFailed(mountpoint, 'it handed over no descriptor')
    return fd
  } finally {
    close(ours)
  }
}

function helperMissing(error: Error): LayerfsError {
  const errno = errnoOf(error) ?? L.EIO
  const what =
    errno === L.ENOENT
      ? `${HELPER} is not installed, and only root can mount without it: install the package fuse3`
      : `${HELPER} cannot be run: ${errnoText(errno)}`
  return new LayerfsError('FUSERMOUNT_MISSING', what, { errno, path: HELPER, cause: error })
}

function helperFailed(mountpoint: string, stderr: string): LayerfsError {
  const said = stderr.trim().split('\n').at(-1) ?? ''
  if (said.includes('user_allow_other')) {
    const what = `allow_other is not permitted to users here: add the line user_allow_other to /etc/fuse.conf`
    return new LayerfsError('FUSE_DENIED', what, { path: mountpoint })
  }
  const code = said.includes(DEVICE) ? 'FUSE_DENIED' : 'FUSERMOUNT_FAILED'
  const what = `${HELPER} refused to mount on ${mountpoint}: ${said.replace(/^fusermount3: /, '')}`
  return new LayerfsError(code, what, { path: mountpoint })
}

/**
 * Unmounts. A mount in use answers -EBUSY unless `lazy`: then its name goes at once, and the rest with the last user.
 *
 * @returns 0 or a negated errno; -EINVAL where nothing is mounted there
 * @throws LayerfsError FUSERMOUNT_MISSING, FUSERMOUNT_FAILED
 */
export function detach(mountpoint: string, means: Means, lazy: boolean): number {
  if (means === 'mount(2)') return umount(mountpoint, L.UMOUNT_NOFOLLOW | (lazy ? L.MNT_DETACH : 0))
  const ran = spawnSync(HELPER, ['-u', ...(lazy ? ['-z'] : []), '--', mountpoint], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (ran.error !== undefined) throw helperMissing(ran.error)
  if (ran.status === 0) return 0
  const said = ran.stderr.toString()
  if (/busy/i.test(said)) return -L.EBUSY
  if (/not found in|not mounted|Invalid argument/i.test(said)) return -L.EINVAL
  const what = `${HELPER} refused to unmount ${mountpoint}: ${said.trim().replace(/^fusermount3: /, '')}`
  throw new LayerfsError('FUSERMOUNT_FAILED', what, { path: mountpoint })
}
