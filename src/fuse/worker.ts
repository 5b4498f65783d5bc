/**
 * The thread of one mount: opens the engine, mounts, and serves until the mount is gone. It blocks on /dev/fuse and
 * never returns to its event loop meanwhile. What to serve comes as a message; then it may serve the next.
 */

import { closeSync, openSync, writeSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import {
  asksForPassthrough,
  type Caching,
  cachingFor,
  isReadOnly,
  isUnchecked,
  statusOf,
} from '../compose.js'
import { compose } from '../engine.js'
import { LayerfsError } from '../errors.js'
import { waitReadable, writeFd } from '../sys/device.js'
import { umask } from '../sys/name.js'
import { armWake, geteuid, gettid, SpareProcessor, unshareFs } from '../sys/thread.js'
import type { Filesystem } from '../vfs.js'
import { FuseDevice } from './device.js'
import { HelperThreads } from './helpers.js'
import { ENDED, type FromWorker, failureOf, SERVING, STATE, STOP, TID, type WorkerInput } from './link.js'
import { attach, detach } from './mount.js'
import { Notify } from './notify.js'
import { Session } from './session.js'
import { Counters } from './stats.js'
import { Watched } from './watch.js'

const post = (message: FromWorker): void => parentPort?.postMessage(message)

/** Lines go to the log where there is one, else to stderr; without the event loop, which does not run. */
function logger(path: string | undefined): { log: (line: string) => void; close: () => void } {
  const fd = path === undefined ? 2 : openSync(path, 'a', 0o640)
  return {
    log(line) {
      try {
        writeSync(fd, `layerfs: ${line}\n`)
      } catch {
        // A closed or full stderr must not end the mount.
      }
    },
    close() {
      if (path !== undefined) closeSync(fd)
    },
  }
}

function serve(
  input: WorkerInput,
  caching: Caching,
  cells: Int32Array,
  fs: Filesystem,
  log: (line: string) => void,
): void {
  const { options, why } = input
  const attached = attach({ ...options, readOnly: isReadOnly(options), unchecked: isUnchecked(options) })
  const { mountpoint, means, fd } = attached
  const about = { ...statusOf(options, mountpoint, 'kernel', why), means }
  const helpers = new HelperThreads(
    new URL('../bundle/helper.cjs', import.meta.url),
    () => waitReadable(fd, 0) !== 0,
  )
  let device: FuseDevice | undefined
  let session: Session | undefined
  try {
    device = new FuseDevice(
      fd,
      options.wake,
      new Watched(cells, new SpareProcessor(), () => post({ type: 'watch' })),
    )
    fs.attach?.(
      new Notify(
        (message) => writeFd(fd, message, message.length),
        (message) => post({ type: 'notify', message }),
      ),
    )
    session = new Session(fs, device, {
      ...caching,
      timeout: options.timeout,
      unchecked: isUnchecked(options),
      ...(options.kernelOptions.includes('allow_root') ? { onlyRootAnd: geteuid() } : {}),
      debug: options.debug,
      helpers,
      counters: new Counters(input.counters),
      log,
      settled: (orphans) => post({ type: 'settled', orphans }),
      status: () => about,
      stopped: () => Atomics.load(cells, STOP) !== 0,
    })
    const features = session.init()
    if (asksForPassthrough(options) && !features.passthrough) {
      const what = `this kernel has no FUSE passthrough (Linux 6.9): leave out passthrough=${options.passthrough}`
      throw new LayerfsError('UNSUPPORTED', what)
    }
    Atomics.store(cells, STATE, SERVING)
    post({ type: 'ready', mountpoint, means, fd })
    session.run()
  } catch (error) {
    detach(mountpoint, means, true)
    throw error
  } finally {
    if (device === undefined) closeSync(fd)
    else device.close()
    void helpers.close().then(() => session?.close())
  }
}

function main(input: WorkerInput, cells: Int32Array): void {
  const { options } = input
  // The engine creates files with exact modes. This thread's umask is its own from here on, not the program's.
  unshareFs()
  umask(0)
  Atomics.store(cells, TID, gettid())
  armWake()
  const { log, close } = logger(options.log)
  const caching = cachingFor(options)
  const fs = compose(options, caching)
  try {
    serve(input, caching, cells, fs, log)
  } finally {
    fs.destroy()
    close()
  }
}

parentPort?.on('message', (input: WorkerInput) => {
  const cells = new Int32Array(input.cells)
  try {
    main(input, cells)
  } catch (error) {
    post({ type: 'failed', failure: failureOf(error) })
  } finally {
    Atomics.store(cells, STATE, ENDED)
    Atomics.notify(cells, STATE)
    post({ type: 'ended' })
  }
})
