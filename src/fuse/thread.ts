import { SHARE_ENV, Worker } from 'node:worker_threads'

/** How long a thread that has nothing to serve is kept, milliseconds. */
const KEEP_MS = 10_000

/** A thread that has loaded the engine and serves nothing. Loading takes ten times as long as mounting does. */
let spare: { thread: Worker; timer: NodeJS.Timeout | undefined } | undefined

// Flags of the program's own, as --input-type or a loader, are not for this thread; its environment is, as it changes.
const start = (): Worker =>
  new Worker(new URL('./worker.js', import.meta.url), { execArgv: [], env: SHARE_ENV })

/** Has a thread load the engine, to be taken soon. It does not keep the process alive. */
export function prepareThread(): void {
  if (spare !== undefined) return
  const thread = start()
  thread.unref()
  thread.once('error', () => {
    if (spare?.thread === thread) spare = undefined
  })
  spare = { thread, timer: undefined }
}

/** A thread that waits to be told what to serve: the spare one, or a new one. */
export function takeThread(): Worker {
  const thread = spare?.thread ?? start()
  clearTimeout(spare?.timer)
  spare = undefined
  thread.removeAllListeners('error')
  thread.ref()
  return thread
}

/** Keeps a thread whose mount is gone for a while: who unmounts and goes on is likely to mount again. */
export function returnThread(thread: Worker): void {
  if (spare !== undefined) {
    void thread.terminate()
    return
  }
  thread.unref()
  const timer = setTimeout(() => {
    spare = undefined
    void thread.terminate()
  }, KEEP_MS)
  timer.unref()
  spare = { thread, timer }
}
