/** A thread that asks mounts for their status, one after the other. */
import { parentPort, workerData } from 'node:worker_threads'
import { XATTR_STATUS } from '../abi/layerfs.js'
import { bytesOf } from '../sys/libc.js'
import { readXattrOf } from '../sys/xattr.js'

for (const mountpoint of workerData as readonly string[])
  parentPort?.postMessage(readXattrOf(bytesOf(`${mountpoint}/`), XATTR_STATUS))
