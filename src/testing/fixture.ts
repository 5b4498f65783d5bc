/** Stacked directories for tests: fixture directories, never written, beneath an upper that is dropped. */

import { type ErrorCode, LayerfsError } from '../errors.js'
import type { LayerInput, MountInput } from '../options.js'
import { onLinux } from '../platform.js'
import type { FixtureChange } from './changes.js'
import { CopiedFixture } from './copied.js'

export interface FixtureOptions
  extends Omit<
    MountInput,
    'lower' | 'upper' | 'work' | 'ephemeral' | 'mountpoint' | 'transport' | 'volatile'
  > {
  /** The fixture directory, or several, the topmost first. They are never written. */
  lower: LayerInput | readonly LayerInput[]
  /** Where nothing can be mounted, work on a copy: the same, at the cost of a copy. Told as a warning when it is done. */
  fallback?: 'copy'
}

/** The state of a fixture at some time. It lives as long as the fixture. */
export interface Snapshot {
  /** The directory that holds it. */
  readonly path: string
}

/** A file that was open when its changes were dropped: a test has leaked it. */
export interface Leak {
  pid: number
  command: string
  path: string
}

export interface Fixture extends AsyncDisposable {
  /** The directory to work in: absolute, without symlinks. */
  readonly path: string
  /** The directory that holds the changes as they are stored; undefined for a copy. */
  readonly upper: string | undefined
  /** `copy` only where that was asked for as fallback. */
  readonly how: 'mount' | 'copy'
  /** What has changed, directories before what they hold, in byte order of names. */
  diff(): Promise<FixtureChange[]>
  /** The changes of text files as a unified diff. */
  patch(): Promise<string>
  /**
   * Drops all changes, in time that depends on them and not on the fixture. A changed file that is still open lives on
   * without a name; it is returned, and told as a warning.
   */
  reset(): Promise<Leak[]>
  /** Keeps the state of now, to be restored as often as wanted. Nothing may write meanwhile. */
  snapshot(): Promise<Snapshot>
  /** Makes the state that of a snapshot. Open files as with reset. */
  restore(snapshot: Snapshot): Promise<Leak[]>
  /** Makes `dir`, which is not there yet, a layer that holds the changes. Nothing may write meanwhile. */
  commit(dir: string): Promise<void>
  /** Takes it away with all changes. One that is still in use is detached, and its users are told as a warning. */
  unmount(): Promise<void>
}

/** Failures that mean: nothing can be mounted here. */
const NO_MOUNTS: ReadonlySet<ErrorCode> = new Set([
  'FUSE_MISSING',
  'FUSE_DENIED',
  'FUSERMOUNT_MISSING',
  'FUSERMOUNT_FAILED',
  'MOUNT_FAILED',
  'UNSUPPORTED',
])

/**
 * Mounts fixture directories for a test. Synchronous file calls of this process work on it, and so do child processes.
 * What an earlier process left mounted when it crashed is freed first.
 *
 * @throws LayerfsError
 */
export async function fixture(options: FixtureOptions): Promise<Fixture> {
  const { lower, fallback, ...rest } = options
  // Whoever writes JavaScript hears of it here.
  if (lower === undefined)
    throw new LayerfsError('USAGE', 'no fixture directory given: fixture({ lower: DIR })')
  if (fallback !== undefined && fallback !== 'copy')
    throw new LayerfsError('USAGE', `there is no fallback ${String(fallback)}: the only one is 'copy'`)
  const input: MountInput = { ...rest, lower: isList(lower) ? [...lower] : [lower] }
  if (!swept) await freeStale()
  swept = true
  if (!onLinux()) return portableFixture(input, fallback)
  const { MountedFixture } = await import('./mounted.js')
  try {
    return await MountedFixture.open(input)
  } catch (error) {
    if (fallback !== 'copy' || !(error instanceof LayerfsError) || !NO_MOUNTS.has(error.code)) throw error
    process.emitWarning(`fixtures are copied, as nothing can be mounted: ${error.message}`, 'LayerfsWarning')
    const { exactCopier } = await import('./exact.js')
    return CopiedFixture.open(exactCopier(input))
  }
}

async function portableFixture(input: MountInput, fallback: 'copy' | undefined): Promise<Fixture> {
  if (fallback !== 'copy')
    throw new LayerfsError('UNSUPPORTED', "FUSE mounts need Linux: set fallback: 'copy' to work on a copy")
  process.emitWarning(
    'fixtures are copied, as FUSE mounts need Linux: without owners, xattrs, hard links and special files',
    'LayerfsWarning',
  )
  const { portableCopier } = await import('./portable.js')
  return CopiedFixture.open(portableCopier(input))
}

let swept = false

/**
 * Frees what fixtures of processes that have ended without unmounting left under the temporary directory: dead mounts,
 * uppers, copies. The first fixture of a process does so too.
 *
 * @returns the directories that are gone now
 */
export async function freeStale(): Promise<string[]> {
  return onLinux() ? (await import('./stale.js')).freeStale() : (await import('./owner.js')).freeOrphans()
}

const isList = (lower: FixtureOptions['lower']): lower is readonly LayerInput[] => Array.isArray(lower)
