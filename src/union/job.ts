/** Work that may take long, done where it is called: on a helper thread, or at once where there is none. */

import { O_WRONLY } from '../abi/linux.js'
import { close, fdatasync, fsync, open } from '../sys/file.js'
import { askServer } from '../sys/stat.js'
import type { Job, Result } from '../vfs.js'
import { copyData } from './copydata.js'

export function runJob(job: Job): Result {
  if (job.kind === 'sync') return job.dataOnly ? fdatasync(job.fd) : fsync(job.fd)
  if (job.kind === 'ask') return askServer(job.fd)
  if (job.kind === 'raise') {
    const fd = open(-1, `/proc/self/fd/${job.fd}`, O_WRONLY)
    return fd < 0 ? fd : close(fd)
  }
  const r = copyData(job.from, job.to, job.size, job.dense, job.done)
  return r >= 0 && job.sync ? fdatasync(job.to) : r
}
