/** A thread that asks mounts for their status, one after the other. */
import { parentPort, workerData } from 'node:worker_threads'
import { readStatus } from '../fuse/control.js'

for (const mountpoint of workerData as readonly string[]) parentPort?.postMessage(readStatus(mountpoint))
