import { SHARE_ENV, Worker } from 'node:worker_threads'

/** How long a thread that has nothing to serve is kept, milliseconds. */
let keepMs = 10_000
/** How many are kept: as many as the tests that a runner has under way at once. */
const KEPT = 5

/** Threads that have loaded the engine and serve nothing. Loading takes ten times as long as mounting does. */
const spares: { thread: Worker; timer: NodeJS.Timeout | undefined }[] = []

/** Beside this file in the bundle, or in a folder beside its own. */
const WORKER = new URL('../bundle/worker.cjs', import.meta.url)

// Flags of the program's own, as --input-type or a loader, are not for this thread; its environment is, as it changes.
const start = (): Worker => new Worker(WORKER, { execArgv: [], env: SHARE_ENV })

/** Has a thread load the engine, to be taken soon. It does not keep the process alive. */
export function prepareThread(): void {
  if (spares.length === 0) keep(start(), undefined)
}

/** Threads that have served stay for good: V8 has compiled in them what a new one would run slowly at first. */
export function keepThreads(): void {
  keepMs = Number.POSITIVE_INFINITY
}

/** A thread that waits to be told what to serve: a spare one, or a new one. */
export function takeThread(): Worker {
  const spare = spares.pop()
  clearTimeout(spare?.timer)
  const thread = spare?.thread ?? start()
  thread.removeAllListeners('error')
  thread.ref()
  return thread
}

/** Keeps a thread whose mount is gone for a while: who unmounts and goes on is likely to mount again. */
export function returnThread(thread: Worker): void {
  if (spares.length >= KEPT) {
    void thread.terminate()
    return
  }
  const timer = Number.isFinite(keepMs) ? setTimeout(() => end(thread), keepMs).unref() : undefined
  keep(thread, timer)
}

function keep(thread: Worker, timer: NodeJS.Timeout | undefined): void {
  thread.unref()
  thread.once('error', () => drop(thread))
  spares.push({ thread, timer })
}

function end(thread: Worker): void {
  drop(thread)
  void thread.terminate()
}

function drop(thread: Worker): void {
  const i = spares.findIndex((spare) => spare.thread === thread)
  if (i >= 0) clearTimeout(spares.splice(i, 1)[0]?.timer)
}
