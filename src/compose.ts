/** From options to what is asked of the kernel, and to what a mount tells of itself. */

import { LayerfsError } from './errors.js'
import { formatOptions, type MountOptions } from './options.js'
import { CAP_SYS_ADMIN, geteuid, hasCapability, inFirstUserNamespace } from './sys/thread.js'

/** What the session will ask of the kernel. The kernel may know less. */
export interface Caching {
  /** Written data stays in the page cache until flushed. */
  writeback: boolean
  /** The kernel reads and writes backing files itself, */
  passthrough: boolean
  /** those of lowers beneath an upper too. */
  lowers: boolean
  /** Where nothing can be written the kernel opens files itself, which spares more than passthrough does. */
  unopened: boolean
}

/**
 * Passthrough takes CAP_SYS_ADMIN in the first user namespace; where it can be had it does more than the writeback
 * cache, which it excludes.
 *
 * @throws LayerfsError UNSUPPORTED where it is asked for and cannot be had
 */
export function cachingFor(options: MountOptions): Caching {
  const able = hasCapability(CAP_SYS_ADMIN) && inFirstUserNamespace()
  const asked = asksForPassthrough(options)
  if (asked && !able) {
    const what = `passthrough=${options.passthrough} takes CAP_SYS_ADMIN outside user namespaces: mount as root, or leave it out`
    throw new LayerfsError('UNSUPPORTED', what)
  }
  const passthrough = asked || (options.passthrough === 'auto' && options.writeback !== 'on' && able)
  return {
    passthrough,
    lowers: options.passthrough === 'all' && (options.upper !== undefined || options.ephemeral),
    unopened: !asked,
    writeback: options.writeback !== 'off' && !passthrough,
  }
}

/** Whether a mount is to have passthrough or none be made. */
export const asksForPassthrough = ({ passthrough }: MountOptions): boolean =>
  passthrough === 'on' || passthrough === 'all'

/** Whether nothing can be written: no upper, or asked for. */
export const isReadOnly = (options: MountOptions): boolean =>
  (options.upper === undefined && !options.ephemeral) || options.kernelOptions.includes('ro')

/**
 * Whether the kernel leaves permissions unchecked: a plain user who keeps owners in xattrs is root on a mount that nobody
 * else may enter. All that it shows is his on disk already.
 */
export const isUnchecked = (options: MountOptions): boolean =>
  options.override === 'xattr' &&
  geteuid() !== 0 &&
  !options.kernelOptions.some((word) => ['allow_other', 'allow_root', 'default_permissions'].includes(word))

/** What a mount tells of itself in `layerfs.status`. */
export interface MountStatus {
  mountpoint: string
  transport: 'kernel' | 'fuse-native'
  /** Why this transport: asked for, the first that works, or what failed with the other. */
  why: string
  pid: number
  /** Milliseconds since the epoch. */
  started: number
  readOnly: boolean
  lower: string[]
  upper?: string
  work?: string
  ephemeral: boolean
  /** All options, as `mount -o` takes them: id maps among them. */
  options: string
  [more: string]: unknown
}

export function statusOf(
  options: MountOptions,
  mountpoint: string,
  transport: MountStatus['transport'],
  why: string,
): MountStatus {
  return {
    mountpoint,
    transport,
    why,
    pid: process.pid,
    started: Date.now(),
    readOnly: isReadOnly(options),
    lower: options.lower.map((layer) => layer.path),
    ...(options.upper === undefined ? {} : { upper: options.upper.path }),
    ...(options.work === undefined ? {} : { work: options.work }),
    ephemeral: options.ephemeral,
    options: formatOptions(options),
    timeout: options.timeout,
    wake: options.wake,
    kernelOptions: options.kernelOptions,
  }
}
