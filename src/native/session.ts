/**
 * One mount through the binding, from mount(2) to the end of libfuse's threads.
 *
 * libfuse says nothing when a mount ends, and the binding has no call to wait for it. What tells is libfuse's own
 * descriptor of /dev/fuse: it is closed last of all, once every request has been answered.
 */
import { execFile } from 'node:child_process'
import { closeSync, readdirSync, readlinkSync } from 'node:fs'
import { promisify } from 'node:util'
import { LayerfsError } from '../errors.js'
import type { Binding } from './binding.js'
import type { Counters } from './counters.js'
import { type Operations, wire } from './wire.js'

const DEVICE = '/dev/fuse'
/** Milliseconds between two looks at whether the mount has ended: at rest, and while it is being unmounted. */
const WATCH_INTERVAL = 250
const UNMOUNT_INTERVAL = 10
/** Milliseconds that umount(8) or fusermount may take. */
const UNMOUNT_TIMEOUT = 30_000

/** The event loop keeps pointers into these for the life of the process. */
const threads: Buffer[] = []

export interface Session {
  /** Settles when libfuse's threads have ended, for whatever reason. */
  readonly closed: Promise<void>
  /**
   * @param lazy take the name away now, though it is in use; the rest goes with the last user, which `closed` tells
   * @throws LayerfsError MOUNTPOINT_BUSY where a process still uses the mount
   */
  unmount(lazy: boolean): Promise<void>
}

/**
 * Mounts, and serves the mount on this thread's event loop.
 *
 * @param options libfuse's, separated by commas
 * @param ended called once, when no more requests can come to what was mounted
 * @param failed told of an exception in an operation
 * @returns once the kernel has greeted the mount
 * @throws LayerfsError MOUNT_FAILED
 */
export async function openSession(
  binding: Binding,
  mountpoint: string,
  options: string,
  ops: Operations,
  counters: Counters,
  ended: () => void,
  failed: (error: unknown) => void,
): Promise<Session> {
  const before = new Set(devices())
  const thread = Buffer.alloc(binding.sizeof_fuse_thread_t)
  threads.push(thread)

  let greeted: () => void = () => {}
  const ready = new Promise<void>((resolve) => {
    greeted = resolve
  })
  const { handlers, implemented } = wire(binding, ops, counters, () => greeted(), failed)
  try {
    binding.fuse_native_mount(
      mountpoint,
      `-o${options}`,
      thread,
      {},
      (size) => Buffer.alloc(size),
      handlers,
      implemented,
    )
  } catch (cause) {
    await cleanUp(mountpoint, before)
    throw new LayerfsError(
      'MOUNT_FAILED',
      `libfuse could not mount on ${mountpoint} with ${options}: it has told why on standard error`,
      { path: mountpoint, cause },
    )
  }

  const own = devices().filter((fd) => !before.has(fd))
  const over = (): boolean => !own.some(isDevice)
  let mounted = false
  let finish: () => void = () => {}
  const closed = new Promise<void>((resolve) => {
    const timer = setInterval(() => finish(), WATCH_INTERVAL)
    finish = () => {
      if (!over()) return
      finish = () => {}
      clearInterval(timer)
      binding.fuse_native_unmount(mountpoint, thread)
      if (mounted) ended()
      resolve()
    }
  })

  const first = await Promise.race([ready.then(() => 'ready'), closed.then(() => 'closed')])
  if (first === 'closed')
    throw new LayerfsError('MOUNT_FAILED', `the mount on ${mountpoint} ended before the kernel greeted it`, {
      path: mountpoint,
    })

  mounted = true

  return {
    closed,
    async unmount(lazy) {
      if (!over()) {
        const refusal = await detach(mountpoint, lazy)
        if (refusal !== undefined && !over())
          throw new LayerfsError(
            'MOUNTPOINT_BUSY',
            `cannot unmount ${mountpoint} (${refusal}): end what uses it, or detach it lazily`,
            {
              path: mountpoint,
            },
          )
      }
      if (lazy) return
      const timer = setInterval(() => finish(), UNMOUNT_INTERVAL)
      await closed
      clearInterval(timer)
    },
  }
}

/** Descriptors of this process that are open on /dev/fuse. */
function devices(): number[] {
  return readdirSync('/proc/self/fd').map(Number).filter(isDevice)
}

function isDevice(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === DEVICE
  } catch {
    return false
  }
}

/** libfuse refuses unknown options only after it has mounted. */
async function cleanUp(mountpoint: string, before: ReadonlySet<number>): Promise<void> {
  const own = devices().filter((fd) => !before.has(fd))
  if (own.length === 0) return
  await detach(mountpoint, true)
  for (const fd of own) closeSync(fd)
}

/** @returns what umount(8) or, for a plain user, fusermount said against it; undefined where it unmounted */
async function detach(mountpoint: string, lazy: boolean): Promise<string | undefined> {
  const [program, args] =
    process.geteuid?.() === 0
      ? ['umount', lazy ? ['-l', mountpoint] : [mountpoint]]
      : ['fusermount', lazy ? ['-u', '-z', mountpoint] : ['-u', mountpoint]]
  try {
    await promisify(execFile)(program, args, { timeout: UNMOUNT_TIMEOUT })
    return undefined
  } catch (error) {
    if (
      error instanceof Error &&
      'stderr' in error &&
      typeof error.stderr === 'string' &&
      error.stderr !== ''
    )
      return error.stderr.trim()
    return error instanceof Error ? error.message : String(error)
  }
}
