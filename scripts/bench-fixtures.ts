/**
 * What a fixture costs a test: `npm run bench:fixtures [-- --dir DIR --rounds N --files 10,1000,50000]`. Mount, reset and
 * unmount against copying the tree with fs.cp, on the disk and on tmpfs; and many mounts at once. Times in milliseconds:
 * the median and the least of the rounds, and the processor time of this process's threads.
 */
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cp } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

// The session's threads run from the build.
const { fixture }: typeof import('../src/testing/index.js') = await import(
  new URL('../dist/testing/index.js', import.meta.url).href
)

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: tmpdir() },
    rounds: { type: 'string', default: '15' },
    files: { type: 'string', default: '10,1000,50000' },
  },
})
const rounds = Number(values.rounds)
const TMPFS = '/dev/shm'
const CHANGED = 100
const AT_ONCE = 50

const scratch = mkdtempSync(join(values.dir, 'layerfs-bench-fixtures-'))
const memory = mkdtempSync(join(TMPFS, 'layerfs-bench-fixtures-'))

/** `count` files of a kilobyte, a hundred to a directory. */
function tree(dir: string, count: number): string {
  for (let i = 0; i < count; i++) {
    if (i % 100 === 0) mkdirSync(join(dir, `d${i / 100}`), { recursive: true })
    writeFileSync(join(dir, `d${Math.floor(i / 100)}`, `f${i}`), `${i} `.repeat(128))
  }
  return dir
}

interface Figures {
  median: number
  min: number
  cpu: number
}

/** Runs `step` some times; it returns what is to be done after each, outside of the time. */
async function measure(times: number, step: () => Promise<() => Promise<void> | void>): Promise<Figures> {
  const ms: number[] = []
  const cpu: number[] = []
  if (times > 1) await (await step())()
  for (let i = 0; i < times; i++) {
    const used = process.cpuUsage()
    const since = performance.now()
    const after = await step()
    ms.push(performance.now() - since)
    const { user, system } = process.cpuUsage(used)
    cpu.push((user + system) / 1000)
    await after()
  }
  const middle = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0
  return { median: middle(ms), min: Math.min(...ms), cpu: middle(cpu) }
}

const row = (name: string, { median, min, cpu }: Figures): void => {
  const n = (value: number): string => value.toFixed(1)
  process.stdout.write(`| ${name} | ${n(median)} | ${n(min)} | ${n(cpu)} |\n`)
}

/** Changes a hundred files, or as many as there are. */
function change(path: string): void {
  let left = CHANGED
  for (const dir of readdirSync(path))
    for (const name of readdirSync(join(path, dir))) {
      if (left-- <= 0) return
      appendFileSync(join(path, dir, name), 'x')
    }
}

async function onTree(count: number): Promise<void> {
  const lower = tree(join(scratch, `tree${count}`), count)
  const times = count > 10_000 ? 1 : rounds
  const label = `${count} files`
  row(
    `${label}: mount, ready`,
    await measure(rounds, async () => {
      const files = await fixture({ lower })
      return () => files.unmount()
    }),
  )
  const files = await fixture({ lower })
  change(files.path)
  row(
    `${label}: reset after ${Math.min(count, CHANGED)} changed`,
    await measure(rounds, async () => {
      await files.reset()
      return () => change(files.path)
    }),
  )
  await files.unmount()
  const cold = async (): Promise<() => Promise<void>> => {
    const one = await fixture({ lower })
    for (const dir of readdirSync(one.path))
      for (const name of readdirSync(join(one.path, dir))) read(one.path, dir, name)
    return () => one.unmount()
  }
  row(`${label}: mount, and read it all`, await measure(times, cold))
  for (const [where, dir] of [
    ['disk', scratch],
    ['tmpfs', memory],
  ] as const) {
    const to = join(dir, 'copy')
    const drop = (): void => rmSync(to, { recursive: true, force: true })
    row(
      `${label}: fs.cp to ${where}`,
      await measure(times, async () => {
        await cp(lower, to, { recursive: true })
        return drop
      }),
    )
    row(
      `${label}: fs.cpSync to ${where}`,
      await measure(times, async () => {
        cpSync(lower, to, { recursive: true })
        return drop
      }),
    )
  }
  rmSync(lower, { recursive: true })
}

const read = (path: string, dir: string, name: string): void => {
  readFileSync(join(path, dir, name))
}

async function atOnce(): Promise<void> {
  const lower = tree(join(scratch, 'small'), 10)
  const before = process.memoryUsage.rss()
  let grown = 0
  const figures = await measure(3, async () => {
    const all = await Promise.all(Array.from({ length: AT_ONCE }, () => fixture({ lower })))
    for (const one of all) change(one.path)
    grown = Math.max(grown, process.memoryUsage.rss() - before)
    return async () => {
      await Promise.all(all.map((one) => one.unmount()))
    }
  })
  row(`${AT_ONCE} mounts at once, 10 files changed in each (${grown >> 20} MiB more)`, figures)
}

try {
  process.stdout.write(`Load ${loadavg()[0]?.toFixed(1)}, node ${process.version}\n\n`)
  process.stdout.write('| | median ms | least ms | processor ms |\n|---|---|---|---|\n')
  for (const count of values.files.split(',').map(Number)) await onTree(count)
  await atOnce()
} finally {
  for (const dir of [scratch, memory]) rmSync(dir, { recursive: true, force: true })
}
