import { Worker } from 'node:worker_threads'

/**
 * Starts the thread of a session, which loads the engine and then waits to be told what to serve. A daemon starts it
 * before it does anything else: the loading takes longer than the mounting.
 */
export const startThread = (): Worker => new Worker(new URL('./worker.js', import.meta.url))
