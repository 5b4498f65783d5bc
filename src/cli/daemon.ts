/**
 * The background process of a mount. Its descriptor 3 is a socket to the command that started it: it reads its
 * options there, as JSON up to the end, and answers one `Answer`. Then nothing ties it to that command any more.
 */
import { closeSync, readFileSync, writeSync } from 'node:fs'
import { type ErrorCode, errnoOf, LayerfsError } from '../errors.js'
import { prepareThread } from '../fuse/thread.js'
import type { MountOptions } from '../options.js'

/** What the daemon answers: that the mount is ready, or why it is not. */
export interface Answer {
  ready: boolean
  code?: ErrorCode
  message?: string
  errno?: number
  path?: string
}

const SOCKET = 3

/** @returns false where the command was killed meanwhile */
function answer(value: Answer): boolean {
  try {
    writeSync(SOCKET, JSON.stringify(value))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return false
    throw error
  } finally {
    closeSync(SOCKET)
  }
}

function failure(error: unknown): Answer {
  const errno = errnoOf(error)
  if (error instanceof LayerfsError)
    return {
      ready: false,
      code: error.code,
      message: error.message,
      ...(errno === undefined ? {} : { errno }),
      ...(error.path === undefined ? {} : { path: error.path }),
    }
  return {
    ready: false,
    code: 'INTERNAL',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }
}

const options = JSON.parse(readFileSync(SOCKET, 'utf8')) as MountOptions
process.chdir('/')
// The engine loads on the session's thread while the rest loads here.
if (options.transport !== 'fuse-native') prepareThread()
const { serve } = await import('./serve.js')
const { mounted, ended } = await serve(options).catch((error: unknown) => {
  answer(failure(error))
  process.exit(1)
})
if (!answer({ ready: true })) await mounted.unmount()
await ended
process.exit(0)
