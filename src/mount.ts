/** Mounts a stack: the engine behind a transport. */

import { resolve } from 'node:path'
import { XATTR_RELOAD, XATTR_RESET } from './abi/layerfs.js'
import { asksForPassthrough, cachingFor, isReadOnly, type MountStatus, statusOf } from './compose.js'
import { type ErrorCode, LayerfsError } from './errors.js'
import { Control, readStatus } from './fuse/control.js'
import { KernelMount } from './fuse/kernel.js'
import { detach } from './fuse/mount.js'
import type { MountStats } from './fuse/stats.js'
import type { NativeMount } from './native/index.js'
import { type LayerSpec, type MountInput, type MountOptions, withDefaults } from './options.js'
import { makeRoomForDescriptors } from './sys/limit.js'
import { mountAt } from './sys/mount.js'
import { geteuid } from './sys/thread.js'
import { type Caller, type Filesystem, type Name, type NodeId, ROOT } from './vfs.js'

export interface UnmountOptions {
  /** Detach it now though it is in use; it ends with its last user. */
  lazy?: boolean
}

/** A running mount. */
export interface Mount extends AsyncDisposable {
  /** Absolute, without symlinks. */
  readonly mountpoint: string
  readonly transport: 'kernel' | 'fuse-native'
  /** The process that serves it: this one. */
  readonly pid: number
  /** Settles when the mount is gone, whoever unmounted it, and its layers are closed. */
  readonly closed: Promise<void>
  /** Requests so far, by kind. */
  stats(): MountStats
  /** What the mount tells of itself: its stack, features, engine. */
  status(): MountStatus
  /**
   * Drops every change of an ephemeral mount while it stays mounted, in time that depends on the changes. What is open
   * and has changed goes on without a name.
   * @returns how many such open files there are. @throws LayerfsError USAGE where the upper is kept, UNSUPPORTED, IO
   */
  reset(): Promise<number>
  /** Takes in what has been put into the ephemeral upper, emptied by `reset`, from outside. As `reset`. */
  reload(): Promise<number>
  /**
   * Writes what is pending and unmounts.
   * @throws LayerfsError MOUNTPOINT_BUSY with who uses it; IO, FUSERMOUNT_MISSING, FUSERMOUNT_FAILED
   */
  unmount(options?: UnmountOptions): Promise<void>
}

/** Failures of one transport that another may not have: all but what is wrong with the options or the layers. */
const TRANSPORT_FAILURES: ReadonlySet<ErrorCode> = new Set([
  'FUSE_DENIED',
  'FUSERMOUNT_FAILED',
  'MOUNT_FAILED',
  'UNSUPPORTED',
])

/**
 * Mounts a stack of directories and serves it from this process, on a thread of its own: synchronous file calls on
 * the mount are fine. The process lives on while the mount does; at its exit the mount is taken away.
 *
 * @returns once the mount is ready
 * @throws LayerfsError
 */
export async function mount(input: MountInput): Promise<Mount> {
  const options = absolute(withDefaults(input))
  void makeRoomForDescriptors()
  if (options.transport === 'fuse-native') return native(options, 'asked for')
  if (options.transport === 'kernel') return kernel(options, 'asked for')
  try {
    return await kernel(options, 'the first choice works here')
  } catch (error) {
    if (!(error instanceof LayerfsError) || !TRANSPORT_FAILURES.has(error.code)) throw error
    try {
      return await native(options, `the kernel transport failed: ${error.message}`)
    } catch {
      // What went wrong with the first choice is what there is to repair.
      throw error
    }
  }
}

/** The session's thread has a working directory of its own, which may be another by now. */
function absolute(options: MountOptions): MountOptions {
  const layer = (spec: LayerSpec): LayerSpec => ({ ...spec, path: resolve(spec.path) })
  return {
    ...options,
    mountpoint: resolve(options.mountpoint),
    lower: options.lower.map(layer),
    ...(options.upper === undefined ? {} : { upper: layer(options.upper) }),
    ...(options.work === undefined ? {} : { work: resolve(options.work) }),
    ...(options.log === undefined ? {} : { log: resolve(options.log) }),
  }
}

async function kernel(options: MountOptions, why: string): Promise<Mount> {
  const served = await KernelMount.open(options, why)
  const unmount = (how: UnmountOptions = {}): Promise<void> => served.unmount(how.lazy === true)
  return {
    mountpoint: served.mountpoint,
    transport: 'kernel',
    pid: process.pid,
    closed: served.closed,
    stats: () => served.stats(),
    status: () => ask(served.mountpoint),
    reset: () => served.order(XATTR_RESET),
    reload: () => served.order(XATTR_RELOAD),
    unmount,
    [Symbol.asyncDispose]: unmount,
  }
}

const unresettable = (): Promise<number> =>
  Promise.reject(
    new LayerfsError(
      'UNSUPPORTED',
      'a fuse-native mount cannot be reset: use the kernel transport, or mount anew',
    ),
  )

/** The status as any process would ask for it. @throws LayerfsError IO where the mount is gone */
function ask(mountpoint: string): MountStatus {
  const value = readStatus(mountpoint)
  if (typeof value === 'number') {
    const what = `${mountpoint} does not answer: the mount is gone`
    throw new LayerfsError('IO', what, { errno: -value, path: mountpoint })
  }
  return JSON.parse(value) as MountStatus
}

/**
 * Served on this thread's event loop: its synchronous calls on the mount hang. At the exit of the process the mount is
 * taken away.
 */
async function native(options: MountOptions, why: string): Promise<Mount> {
  const { mountNative } = await import('./native/index.js')
  const { compose } = await import('./engine.js')
  if (asksForPassthrough(options)) {
    const what = `fuse-native has no passthrough: use the kernel transport, or leave out passthrough=${options.passthrough}`
    throw new LayerfsError('UNSUPPORTED', what)
  }
  const caching = { ...cachingFor(options), passthrough: false, writeback: false }
  const fs = compose(options, caching)
  let about = statusOf(options, options.mountpoint, 'fuse-native', why)
  let stats = (): MountStats => NO_STATS
  const status = (): MountStatus => ({ ...about, engine: fs.status?.() ?? {} })
  const kernelOptions = isReadOnly(options)
    ? [...options.kernelOptions.filter((o) => o !== 'rw' && o !== 'ro'), 'ro']
    : options.kernelOptions
  const control = new Control(status, () => ({ ...stats(), engine: fs.status?.() ?? {} }))
  let served: NativeMount
  try {
    served = await mountNative(withControl(fs, control), { ...options, kernelOptions })
  } catch (error) {
    fs.destroy()
    throw error
  }
  const { mountpoint, closed } = served
  about = { ...about, mountpoint }
  stats = () => served.stats()
  const device = mountAt(mountpoint)?.device
  const leave = (): void => {
    try {
      if (mountAt(mountpoint)?.device === device)
        detach(mountpoint, geteuid() === 0 ? 'mount(2)' : 'fusermount3', true)
    } catch {
      // Nobody is left to tell.
    }
  }
  process.once('exit', leave)
  void closed.then(() => process.off('exit', leave))
  const unmount = (how: UnmountOptions = {}): Promise<void> => served.unmount(how.lazy === true)
  return {
    mountpoint,
    transport: 'fuse-native',
    pid: process.pid,
    closed,
    stats,
    status,
    reset: unresettable,
    reload: unresettable,
    unmount,
    [Symbol.asyncDispose]: unmount,
  }
}

const NO_STATS: MountStats = { requests: 0, errors: 0, bytesWritten: 0, bytesRead: 0, ops: {} }

/** The engine, with the xattrs of the status and the counts on its root. */
function withControl(fs: Filesystem, control: Control): Filesystem {
  const wrapped = Object.create(fs) as Filesystem
  wrapped.getxattr = (c: Caller, node: NodeId, name: Name, dst: Buffer) =>
    node === ROOT && control.owns(node, name) ? control.getxattr(name, dst) : fs.getxattr(c, node, name, dst)
  return wrapped
}
