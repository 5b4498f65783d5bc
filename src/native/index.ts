/** The engine behind the npm package fuse-native: libfuse 2, path-based, served on the event loop. */
import { accessSync, constants } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { EIO, ENOENT, ENOTCONN } from '../abi/linux.js'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import type { Filesystem } from '../vfs.js'
import { Adapter } from './adapter.js'
import { loadBinding } from './binding.js'
import { Counters, type NativeStats } from './counters.js'
import { openSession } from './session.js'

export interface NativeOptions {
  mountpoint: string
  /** Seconds for which the kernel may keep names and attributes. */
  timeout: number
  /** Options of mount(8) that go to the kernel: `allow_other`, `noatime`, `context=...` */
  kernelOptions: readonly string[]
  /** The source shown in /proc/mounts; `layerfs` if left out. */
  fsname?: string
  /** The type shown in /proc/mounts is `fuse.SUBTYPE`; `layerfs` if left out. */
  subtype?: string
  /** libfuse writes each request to standard error. */
  debug?: boolean
}

export interface NativeMount {
  /** Absolute, without symlinks. */
  readonly mountpoint: string
  /**
   * Unmounts and waits for the last request to end.
   * @param lazy take the name away now, though it is in use; the rest goes with the last user, which `closed` tells
   * @throws LayerfsError MOUNTPOINT_BUSY where a process still uses the mount
   */
  unmount(lazy?: boolean): Promise<void>
  /** Requests so far, by kind. */
  stats(): NativeStats
  /** Settles when the mount is gone, whoever unmounted it. The filesystem has been destroyed by then. */
  readonly closed: Promise<void>
}

/** Bytes, with the final NUL, that the binding has for the mountpoint and for the options. */
const TEXT_MAX = 1024
/** Seconds from which a timeout counts as endless. */
const ENDLESS = 1e8

/** What libfuse 2 passes on to mount(2), as flags or as they are. */
const KERNEL_OPTIONS =
  /^(rw|ro|(no)?(suid|dev|exec|atime)|a?sync|dirsync|allow_(other|root)|default_permissions|(fs|def|root)?context=.*)$/

/**
 * Mounts `fs`. Everything is served on this thread's event loop, so synchronous calls of this process on the mount, or
 * a blocked event loop, hang whoever uses it.
 *
 * As root, other users may enter (`allow_other`); else only the daemon's user may, who then owns what is created.
 *
 * @throws LayerfsError UNSUPPORTED, NO_SUCH_DIRECTORY, NOT_A_DIRECTORY, DEAD_MOUNT, FUSE_MISSING, FUSE_DENIED,
 *   FUSERMOUNT_MISSING, MOUNT_FAILED, USAGE
 */
export async function mountNative(fs: Filesystem, options: NativeOptions): Promise<NativeMount> {
  if (!isMainThread)
    throw new LayerfsError(
      'UNSUPPORTED',
      'the transport fuse-native answers on the main thread only: call mount there, or use the transport kernel',
    )
  const binding = loadBinding()
  checkDevice()
  const mountpoint = await checkMountpoint(options.mountpoint)
  const root = process.geteuid?.() === 0
  const line = optionLine(options, root)
  checkLength('mountpoint', mountpoint)
  checkLength('list of mount options', `-o${line}`)
  if (!root) checkFusermount()

  const caller = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, pid: 0, umask: 0 }
  const ttl = options.timeout >= ENDLESS ? 0 : Math.max(1, Math.ceil(options.timeout * 1000))
  const adapter = new Adapter(fs, caller, ttl)
  const counters = new Counters()
  const session = await openSession(
    binding,
    mountpoint,
    line,
    adapter,
    counters,
    () => {
      adapter.close()
      fs.destroy()
    },
    (error) => process.emitWarning(error instanceof Error ? error : String(error)),
  )
  return {
    mountpoint,
    closed: session.closed,
    unmount: (lazy = false) => session.unmount(lazy),
    stats: () => counters.snapshot(),
  }
}

/** @throws LayerfsError UNSUPPORTED for what libfuse 2 would not know, USAGE for a comma in a name */
function optionLine(options: NativeOptions, root: boolean): string {
  const { timeout, kernelOptions, fsname = 'layerfs', subtype = 'layerfs' } = options
  for (const option of kernelOptions)
    if (!KERNEL_OPTIONS.test(option))
      throw new LayerfsError(
        'UNSUPPORTED',
        `the transport fuse-native cannot pass on the mount option ${option}: leave it out, or use the transport kernel`,
      )
  // To the kernel each name of a file is an inode of its own here, so what it keeps of one would not follow what is done
  // through another: attributes are kept only where nothing changes.
  const attributes = kernelOptions.includes('ro') ? timeout : 0
  const list = [
    `fsname=${fsname}`,
    `subtype=${subtype}`,
    'default_permissions',
    'use_ino',
    'big_writes',
    'auto_cache',
    `entry_timeout=${timeout}`,
    `negative_timeout=${timeout}`,
    `attr_timeout=${attributes}`,
    // As root's mounts over the transport kernel: libfuse 2 leaves devices and set-id bits out unless told otherwise.
    ...(root ? ['dev', 'suid'] : []),
    ...kernelOptions.filter((option) => option !== 'default_permissions'),
  ]
  // fusermount3, which stands in for libfuse 2's own fusermount, mounts over what is not empty anyway.
  if (root) list.push('nonempty')
  if (root && !list.includes('allow_root') && !list.includes('allow_other')) list.push('allow_other')
  if (options.debug === true) list.push('debug')
  return list.map(escaped).join(',')
}

/** A comma within an option, as in an SELinux context, is written `\,`: fuse_opt_parse(). */
const escaped = (option: string): string => option.replace(/[\\,]/g, '\\$&')

function checkLength(what: string, text: string): void {
  if (Buffer.byteLength(text) < TEXT_MAX) return
  throw new LayerfsError(
    'UNSUPPORTED',
    `the ${what} has ${TEXT_MAX} bytes or more, which the transport fuse-native cannot carry: use the transport kernel`,
  )
}

function checkDevice(): void {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch (cause) {
    if (errnoOf(cause) === ENOENT)
      throw new LayerfsError(
        'FUSE_MISSING',
        'there is no /dev/fuse: load the kernel module fuse (modprobe fuse)',
        {
          cause,
        },
      )
    throw new LayerfsError(
      'FUSE_DENIED',
      '/dev/fuse may not be opened: let this user read and write it (chmod 666 /dev/fuse)',
      { cause },
    )
  }
}

/** libfuse 2 looks for it under its old name, which Debian's fuse3 gives it too. */
function checkFusermount(): void {
  for (const folder of ['/usr/local/bin', ...(process.env.PATH ?? '').split(delimiter)]) {
    try {
      accessSync(join(folder, 'fusermount'), constants.X_OK)
      return
    } catch {}
  }
  throw new LayerfsError(
    'FUSERMOUNT_MISSING',
    'fusermount is not on PATH, and a plain user mounts through it: install the package fuse3',
  )
}

/** @returns the path without symlinks */
async function checkMountpoint(path: string): Promise<string> {
  try {
    const real = await realpath(path)
    if ((await stat(real)).isDirectory()) return real
  } catch (cause) {
    const errno = errnoOf(cause)
    const detail = { path, cause }
    if (errno === ENOTCONN)
      throw new LayerfsError('DEAD_MOUNT', `${path} is a dead mount: run fusermount3 -u ${path}`, detail)
    if (errno === ENOENT)
      throw new LayerfsError(
        'NO_SUCH_DIRECTORY',
        `no such mountpoint ${path}: create the directory first`,
        detail,
      )
    throw new LayerfsError(
      'ACCESS_DENIED',
      `cannot use ${path} as mountpoint: ${errnoText(errno ?? EIO)}`,
      detail,
    )
  }
  throw new LayerfsError('NOT_A_DIRECTORY', `the mountpoint ${path} is not a directory`, { path })
}
