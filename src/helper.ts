/** A helper thread of a session: runs one job after the other and says when each has ended. */

import { parentPort, workerData } from 'node:worker_threads'
import { EIO } from './abi/linux.js'
import { DONE, type Order } from './fuse/helpers.js'
import { runStore } from './fuse/store.js'
import { raiseEvent } from './sys/event.js'
import { setAffinity } from './sys/thread.js'
import { runJob } from './union/job.js'
import type { Result } from './vfs.js'

setAffinity(Buffer.from(workerData as Uint8Array))

parentPort?.on('message', ({ job, slot, cells, event }: Order) => {
  const states = new Int32Array(cells)
  let r: Result = -EIO
  try {
    r = job.kind === 'store' ? runStore(job) : runJob(job)
  } finally {
    Atomics.store(states, slot * 2 + 1, r)
    Atomics.store(states, slot * 2, DONE)
    raiseEvent(event)
  }
})
