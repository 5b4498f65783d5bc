/** From options to an engine, and to what is asked of the kernel for it. */

import { readFileSync } from 'node:fs'
import { formatOptions, type MountOptions } from './options.js'
import { CAP_SYS_ADMIN, hasCapability } from './sys/thread.js'
import { createUnion } from './union/union.js'
import type { Filesystem } from './vfs.js'

/** What the session will ask of the kernel. The kernel may know less. */
export interface Caching {
  /** Written data stays in the page cache until flushed. */
  writeback: boolean
  /** The kernel reads and writes backing files itself. */
  passthrough: boolean
}

/**
 * Passthrough takes CAP_SYS_ADMIN in the first user namespace; where it can be had it does more than the writeback
 * cache, which it excludes.
 */
export function cachingFor(options: MountOptions): Caching {
  const able = hasCapability(CAP_SYS_ADMIN) && inFirstUserNamespace()
  const passthrough =
    options.passthrough === 'on' || (options.passthrough === 'auto' && options.writeback !== 'on' && able)
  return { passthrough, writeback: options.writeback !== 'off' && !passthrough }
}

/** Only there do all ids map to themselves: user_namespaces(7). */
const inFirstUserNamespace = (): boolean =>
  /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'))

/**
 * Opens the layers. Do so before mounting: the mountpoint may lie within one.
 * @throws LayerfsError
 */
export const compose = (options: MountOptions, caching: Caching): Filesystem => createUnion(options, caching)

/** Whether nothing can be written: no upper, or asked for. */
export const isReadOnly = (options: MountOptions): boolean =>
  (options.upper === undefined && !options.ephemeral) || options.kernelOptions.includes('ro')

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
