/** A mount served by a worker thread of this process, as the thread that asked for it sees it. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { AT_FDCWD, EBUSY, EPERM, O_PATH, O_RDONLY } from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import type { MountOptions } from '../options.js'
import { writeFd } from '../sys/device.js'
import { close, open, syncfs } from '../sys/file.js'
import { holders } from '../sys/holders.js'
import { bytesOf } from '../sys/libc.js'
import { mountAt, mounts } from '../sys/mount.js'
import { wakeThread } from '../sys/thread.js'
import { setXattr } from '../sys/xattr.js'
import { CELLS, ENDED, errorOf, type FromWorker, STATE, STOP, TID, type WorkerInput } from './link.js'
import { detach, type Means } from './mount.js'
import { opName } from './ops.js'
import { Counters, type MountStats } from './stats.js'
import { returnThread, takeThread } from './thread.js'
import { Watch } from './watch.js'

/** How long a session may go on after its mount is gone from here, milliseconds: another mount namespace may hold it. */
const PATIENCE_MS = 2000
/** How long the end of the process waits for its sessions, milliseconds. */
const EXIT_MS = 3000

/** Mounts of this process that are being served: its exit ends them. */
const live = new Set<KernelMount>()
let hooked = false

export class KernelMount {
  /** Settles when the session has ended and the engine is closed. */
  readonly closed: Promise<void>
  private readonly cells: Int32Array
  private readonly counters: Counters
  private readonly worker: Worker
  private readonly watch: Watch
  mountpoint = ''
  private means: Means = 'mount(2)'
  private device: string | undefined
  private fd = -1
  private settle: ((orphans: number) => void) | undefined

  private constructor(options: MountOptions, why: string) {
    const input: WorkerInput = {
      options,
      why,
      cells: new SharedArrayBuffer(CELLS * 4),
      counters: new Counters().shared,
    }
    this.cells = new Int32Array(input.cells)
    this.counters = new Counters(input.counters)
    this.watch = new Watch(this.cells)
    this.worker = takeThread()
    this.worker.postMessage(input)
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.watch.stop()
        live.delete(this)
        resolve()
      }
      this.worker.on('message', (m: FromWorker) => {
        if (m.type !== 'ended') return
        for (const event of ['message', 'error', 'exit']) this.worker.removeAllListeners(event)
        returnThread(this.worker)
        end()
      })
      this.worker.once('exit', end)
    })
  }

  /** @returns once the mount serves. @throws LayerfsError */
  static async open(options: MountOptions, why: string): Promise<KernelMount> {
    const mount = new KernelMount(options, why)
    live.add(mount)
    hookExit()
    await mount.started()
    return mount
  }

  private started(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.worker.on('message', (m: FromWorker) => {
        if (m.type === 'ready') {
          this.mountpoint = m.mountpoint
          this.means = m.means
          this.fd = m.fd
          this.device = mountAt(m.mountpoint)?.device
          resolve()
        } else if (m.type === 'failed') reject(errorOf(m.failure))
        else if (m.type === 'settled') this.settle?.(m.orphans)
        else if (m.type === 'watch') this.watch.start()
        else if (m.type === 'notify' && !this.ended)
          writeFd(this.fd, Buffer.from(m.message), m.message.length)
      })
      this.worker.once('error', (error) => {
        Atomics.store(this.cells, STATE, ENDED)
        reject(
          new LayerfsError('INTERNAL', `the session's thread failed: ${error.message}`, { cause: error }),
        )
      })
      this.worker.once('exit', () => {
        reject(new LayerfsError('DAEMON_FAILED', "the session's thread ended before the mount was ready"))
      })
    })
  }

  private get ended(): boolean {
    return Atomics.load(this.cells, STATE) === ENDED
  }

  /**
   * Has the session drop an ephemeral mount's changes (`layerfs.reset`), or look anew at its upper (`layerfs.reload`).
   * The kernel has forgotten what it must when this returns.
   *
   * @returns how many open files have lost their names. @throws LayerfsError USAGE where the upper is kept, IO
   */
  async order(xattr: string): Promise<number> {
    const path = this.mountpoint
    const settled = new Promise<number>((resolve) => {
      this.settle = resolve
    })
    const fd = open(AT_FDCWD, bytesOf(path), O_PATH)
    const r = fd < 0 ? fd : setXattr(fd, '.', xattr, Buffer.alloc(0))
    if (fd >= 0) close(fd)
    if (r === -EPERM)
      throw new LayerfsError('USAGE', `${path} keeps its upper: only an ephemeral mount can be reset`, {
        path,
      })
    if (r < 0) throw new LayerfsError('IO', `cannot reset ${path}: ${errnoText(r)}`, { errno: -r, path })
    return settled
  }

  stats(): MountStats {
    return this.counters.snapshot(opName)
  }

  /**
   * Unmounts. Dirty pages are written first, and the engine is closed when this returns.
   *
   * @param lazy take the name away now, though it is in use; the rest goes with the last user, which `closed` tells
   * @throws LayerfsError MOUNTPOINT_BUSY with who uses it, IO, FUSERMOUNT_MISSING, FUSERMOUNT_FAILED
   */
  async unmount(lazy: boolean): Promise<void> {
    if (this.ended) return this.closed
    const there = mountAt(this.mountpoint)
    // umount(2) writes what is pending only where no other mount namespace holds the mount.
    if (!lazy && there?.device === this.device) this.flush()
    // Somebody else may have unmounted it, or mounted over it.
    if (there?.device === this.device) this.detach(lazy)
    else if (there !== undefined && mounts().some((m) => m.device === this.device)) {
      const what = `${this.mountpoint} has another ${there.type} mounted over it: unmount that first`
      throw new LayerfsError('MOUNTPOINT_BUSY', what, { errno: EBUSY, path: this.mountpoint })
    }
    if (lazy) return
    await Promise.race([this.closed, sleep(PATIENCE_MS, undefined, { ref: false })])
    await this.stop()
  }

  private detach(lazy: boolean): void {
    const path = this.mountpoint
    const r = detach(path, this.means, lazy)
    if (r === -EBUSY) throw new LayerfsError('MOUNTPOINT_BUSY', busyText(path), { errno: EBUSY, path })
    if (r < 0) throw new LayerfsError('IO', `cannot unmount ${path}: ${errnoText(r)}`, { errno: -r, path })
  }

  /** Ends the session whoever may still hold the mount: to them it is dead from then on. */
  private async stop(): Promise<void> {
    Atomics.store(this.cells, STOP, 1)
    while (!this.ended) {
      this.wake()
      await sleep(1)
    }
    await this.closed
  }

  /** The session may be about to block when this comes: hence repeatedly, until it has ended. */
  private wake(): void {
    const tid = Atomics.load(this.cells, TID)
    if (tid !== 0) wakeThread(tid)
  }

  /** Has the kernel hand over what it has cached of written files, those that stay open too. */
  private flush(): void {
    const fd = open(AT_FDCWD, bytesOf(this.mountpoint), O_RDONLY)
    if (fd < 0) return
    syncfs(fd)
    close(fd)
  }

  /** At the process's exit: no promises any more. Leaves neither a hanging thread nor, where it can, a dead mount. */
  endNow(): void {
    if (this.mountpoint !== '' && !this.ended) {
      try {
        this.flush()
        if (mountAt(this.mountpoint)?.device === this.device) detach(this.mountpoint, this.means, true)
      } catch {
        // Nobody is left to tell; the session still has to end.
      }
    }
    // Detached and unused, it ends by itself, having written what was pending.
    Atomics.wait(this.cells, STATE, Atomics.load(this.cells, STATE), 50)
    Atomics.store(this.cells, STOP, 1)
    const until = performance.now() + EXIT_MS
    while (!this.ended && performance.now() < until) {
      this.wake()
      Atomics.wait(this.cells, STATE, Atomics.load(this.cells, STATE), 1)
    }
  }
}

function hookExit(): void {
  if (hooked) return
  hooked = true
  process.on('exit', () => {
    for (const mount of live) mount.endNow()
  })
}

/** That a mount is in use, and by whom. */
export function busyText(path: string): string {
  const some = holders(path)
  const who = some
    .slice(0, 3)
    .map((h) => (h.pid === 0 ? `a mount on ${h.path}` : `${h.command} (pid ${h.pid}: ${h.path})`))
  const by = who.length === 0 ? '' : ` by ${who.join(', ')}${some.length > 3 ? ', ...' : ''}`
  return `${path} is in use${by}: end that, or detach it lazily`
}
