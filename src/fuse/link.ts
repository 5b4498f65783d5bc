/** What passes between a session's worker thread and the thread that started it. */

import { type ErrorCode, errnoOf, LayerfsError } from '../errors.js'
import type { MountOptions } from '../options.js'
import type { Means } from './mount.js'

/** Cells of the shared state. */
export const STATE = 0
export const TID = 1
export const STOP = 2
/** These three: see watch.ts. */
export const YIELDS = 3
export const SERVED = 4
export const BEAT = 5
export const CELLS = 6
/** Values of the STATE cell; 0 until the session serves. */
export const SERVING = 1
/** The engine is closed and the session's descriptor too. */
export const ENDED = 2

/** The message that the worker takes. */
export interface WorkerInput {
  options: MountOptions
  /** Why this transport was taken: for the status. */
  why: string
  /** STATE to BEAT. */
  cells: SharedArrayBuffer
  counters: SharedArrayBuffer
}

/** A LayerfsError, or any other, as it crosses threads. */
export interface Failure {
  code: ErrorCode
  message: string
  errno?: number
  path?: string
}

/** Sent by the worker for each mount: `ready` (then any number of `notify`) or `failed` or both, and at last `ended`. */
export type FromWorker =
  | { type: 'ready'; mountpoint: string; means: Means; fd: number }
  | { type: 'failed'; failure: Failure }
  | { type: 'notify'; message: Uint8Array }
  /** A reset or reload is through, and what it had to notify was sent before this. */
  | { type: 'settled'; orphans: number }
  /** The session wants to be watched. */
  | { type: 'watch' }
  | { type: 'ended' }

export function failureOf(error: unknown): Failure {
  if (error instanceof LayerfsError) {
    return {
      code: error.code,
      message: error.message,
      ...(error.errno === undefined ? {} : { errno: error.errno }),
      ...(error.path === undefined ? {} : { path: error.path }),
    }
  }
  const errno = errnoOf(error)
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'INTERNAL', message, ...(errno === undefined ? {} : { errno }) }
}

export const errorOf = (f: Failure): LayerfsError => new LayerfsError(f.code, f.message, f)
