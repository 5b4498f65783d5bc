/** Asks mounts for their status without waiting for one that does not answer: its daemon may be stopped. */
import { Worker } from 'node:worker_threads'
import { exitNow } from '../sys/thread.js'

/** How long a mount is waited for, milliseconds: one that serves answers between two requests. */
const PATIENCE_MS = 2000

/** A status as JSON; a negated errno; undefined where the mount does not answer. */
export type Answer = string | number | undefined

/** @returns an answer for each mountpoint */
export async function inquire(mountpoints: readonly string[]): Promise<Answer[]> {
  const answers: Answer[] = []
  while (answers.length < mountpoints.length) await ask(mountpoints.slice(answers.length), answers)
  // A thread that waits for a mount cannot be ended.
  if (answers.includes(undefined)) process.once('exit', (code) => exitNow(code))
  return answers
}

/** Asks on a thread of its own, until all have answered or one does not. */
const ask = (mountpoints: readonly string[], answers: Answer[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const asker = new Worker(new URL('./asker.js', import.meta.url), {
      workerData: mountpoints,
      execArgv: [],
    })
    const end = (): void => {
      clearTimeout(timer)
      asker.removeAllListeners()
      asker.unref()
      resolve()
    }
    const timer = setTimeout(() => {
      answers.push(undefined)
      end()
    }, PATIENCE_MS)
    asker.on('message', (answer: string | number) => {
      answers.push(answer)
      timer.refresh()
    })
    asker.on('error', reject)
    asker.on('exit', end)
  })
