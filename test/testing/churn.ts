/**
 * Mounts and unmounts again and again in this process, and counts what is left: `churn.ts LOWER CYCLES AT_ONCE`. Prints
 * one line of JSON.
 */
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fixture } from '../../src/testing/index.js'
import { testing } from './kit.js'

const [lower = '', cycles = '100', atOnce = '1'] = process.argv.slice(2)
/** Mounts that are no part of the count: they leave the threads that are kept for the next. */
const WARM_UP = 20
const THREADS_MS = 10_000

const count = (dir: string): number => fs.readdirSync(`/proc/self/${dir}`).length
const left = () => ({ fds: count('fd'), threads: count('task') })

const { fixture } = await testing()

async function cycle(n: number): Promise<void> {
  const all = await Promise.all(Array.from({ length: n }, () => fixture({ lower })))
  for (const one of all) use(one)
  await Promise.all(all.map((one) => one.unmount()))
}

function use(one: Fixture): void {
  const [name = ''] = fs.readdirSync(one.path)
  fs.writeFileSync(path.join(one.path, 'new'), 'x')
  fs.appendFileSync(path.join(one.path, name), 'x')
}

/** A thread that is ended goes away a little later. */
async function settled(than: ReturnType<typeof left>): Promise<ReturnType<typeof left>> {
  const until = Date.now() + THREADS_MS
  let now = left()
  while (Date.now() < until && (now.threads > than.threads || now.fds > than.fds)) {
    await sleep(20)
    now = left()
  }
  return now
}

for (let done = 0; done < WARM_UP; done += Number(atOnce)) await cycle(Number(atOnce))
const before = left()
const rss = process.memoryUsage.rss()
const since = performance.now()
for (let done = 0; done < Number(cycles); done += Number(atOnce)) {
  await cycle(Number(atOnce))
  if (done > 0 && done % 1000 === 0)
    process.stderr.write(`${done}: ${process.memoryUsage.rss() >> 20} MiB, ${JSON.stringify(left())}\n`)
}
const ms = performance.now() - since
const after = await settled(before)
const mib = (bytes: number): number => Math.round(bytes / 2 ** 20)
process.stdout.write(
  `${JSON.stringify({ cycles: Number(cycles), before, after, memoryMiB: [mib(rss), mib(process.memoryUsage.rss())], msEach: ms / Number(cycles) })}\n`,
)
