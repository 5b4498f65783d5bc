/**
 * A process that serves the memory filesystem: `node --import tsx memfsd.ts MOUNTPOINT [OPTIONS as JSON]`.
 * It prints `ready` and ends when the mount is gone.
 */

import { writeSync } from 'node:fs'
import { FuseDevice } from '../../src/fuse/device.js'
import { attach } from '../../src/fuse/mount.js'
import { Session } from '../../src/fuse/session.js'
import type { WakeMode } from '../../src/fuse/wake.js'
import { MemFs } from './memfs.js'

const [mountpoint = '', json = '{}'] = process.argv.slice(2)
const given = JSON.parse(json) as { timeout?: number; writeback?: boolean; wake?: WakeMode }
const fs = new MemFs()
const attached = attach({ mountpoint, kernelOptions: [], readOnly: false, fsname: 'memfs', subtype: 'memfs' })
const session = new Session(fs, new FuseDevice(attached.fd, given.wake ?? 'free'), {
  timeout: given.timeout ?? 1e9,
  writeback: given.writeback ?? false,
  passthrough: false,
  debug: process.env.MEMFS_DEBUG !== undefined,
  log: (line) => writeSync(2, `${line}\n`),
  status: () => ({ means: attached.means, pid: process.pid }),
})
session.init()
writeSync(1, 'ready\n')
session.run()
fs.destroy()
