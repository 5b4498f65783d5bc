/**
 * What a fixture costs a test: `npm run bench:fixtures [-- --dir DIR --rounds N --files 10,1000,50000]`. A mount against
 * copies of the tree, on the disk and on tmpfs, and against memfs: to have it, to have it and read it all, and to have it
 * anew for the next test; and many mounts at once. Times in milliseconds: the median and the least of the rounds, and the
 * processor time of this process's threads.
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
import { Volume } from 'memfs'

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

/** One step of a row; returns what is to be done after it, outside of the time. */
type Step = () => Promise<() => Promise<void> | void>

class Row {
  private readonly ms: number[] = []
  private readonly cpu: number[] = []

  constructor(
    private readonly name: string,
    private readonly step: Step,
  ) {}

  async round(): Promise<void> {
    const used = process.cpuUsage()
    const since = performance.now()
    const after = await this.step()
    this.ms.push(performance.now() - since)
    const { user, system } = process.cpuUsage(used)
    this.cpu.push((user + system) / 1000)
    await after()
  }

  tell(note = ''): void {
    const [ms, cpu] = [this.ms, this.cpu].map((list) => list.toSorted((a, b) => a - b))
    const middle = (list: readonly number[] = []): string => (list[list.length >> 1] ?? 0).toFixed(1)
    const least = ms?.[0]?.toFixed(1)
    process.stdout.write(`| ${this.name}${note} | ${middle(ms)} | ${least} | ${middle(cpu)} |\n`)
  }
}

/** Measures a step some times, after once for nothing where it is more than one. */
async function measure(name: string, times: number, step: Step): Promise<void> {
  if (times > 1) await (await step())()
  const row = new Row(name, step)
  for (let i = 0; i < times; i++) await row.round()
  row.tell()
}

/** Changes so many files, or as many as there are. */
function change(path: string, count: number): void {
  let left = count
  for (const dir of readdirSync(path))
    for (const name of readdirSync(join(path, dir))) {
      if (left-- <= 0) return
      appendFileSync(join(path, dir, name), 'x')
    }
}

/** Calls with each file of a tree, by its name from the tree's root. */
function each(path: string, use: (name: string) => void): void {
  for (const dir of readdirSync(path)) for (const name of readdirSync(join(path, dir))) use(`${dir}/${name}`)
}

/** Sizes take turns: what the disk still has to do after a copy is removed would fall to one of them. */
async function mounts(lowers: ReadonlyMap<number, string>): Promise<void> {
  const rows = [...lowers].map(
    ([count, lower]) =>
      new Row(`${count} files: mount, ready`, async () => {
        const files = await fixture({ lower })
        return () => files.unmount()
      }),
  )
  await (await fixture({ lower: scratch })).unmount()
  for (let i = 0; i < rounds; i++) for (const row of rows) await row.round()
  for (const row of rows) row.tell()
}

async function mounted(label: string, lower: string, count: number, times: number): Promise<void> {
  const files = await fixture({ lower })
  for (const n of [1, Math.min(CHANGED, count)]) {
    change(files.path, n)
    await measure(`${label}: reset after ${n} changed`, rounds, async () => {
      await files.reset()
      return () => change(files.path, n)
    })
    await files.reset()
  }
  await files.unmount()
  await measure(`${label}: mount, and read it all`, times, async () => {
    const one = await fixture({ lower })
    each(one.path, (name) => readFileSync(join(one.path, name)))
    return () => one.unmount()
  })
}

async function copied(label: string, lower: string, times: number): Promise<void> {
  for (const [where, dir] of [
    ['disk', scratch],
    ['tmpfs', memory],
  ] as const) {
    const to = join(dir, 'copy')
    const drop = (): void => rmSync(to, { recursive: true, force: true })
    await measure(`${label}: fs.cp to ${where}`, times, async () => {
      await cp(lower, to, { recursive: true })
      return drop
    })
    await measure(`${label}: fs.cpSync to ${where}`, times, async () => {
      cpSync(lower, to, { recursive: true })
      return drop
    })
    await measure(`${label}: fs.cpSync to ${where}, and read it all`, times, async () => {
      cpSync(lower, to, { recursive: true })
      each(to, (name) => readFileSync(join(to, name)))
      return drop
    })
    cpSync(lower, to, { recursive: true })
    await measure(`${label}: remove and fs.cpSync to ${where} again`, times, async () => {
      drop()
      cpSync(lower, to, { recursive: true })
      return () => {}
    })
    drop()
  }
}

async function inMemory(label: string, lower: string, times: number): Promise<void> {
  const contents = (): Record<string, string> => {
    const all: Record<string, string> = {}
    each(lower, (name) => {
      all[name] = readFileSync(join(lower, name), 'utf8')
    })
    return all
  }
  await measure(`${label}: fill memfs from the disk, and read it all`, times, async () => {
    const filled = Volume.fromJSON(contents(), '/')
    each(lower, (name) => filled.readFileSync(`/${name}`))
    return () => {}
  })
  const kept = contents()
  const volume = Volume.fromJSON(kept, '/')
  await measure(`${label}: empty memfs and fill it again`, times, async () => {
    volume.reset()
    volume.fromJSON(kept, '/')
    return () => {}
  })
}

async function atOnce(): Promise<void> {
  const lower = tree(join(scratch, 'small'), 10)
  const before = process.memoryUsage.rss()
  let grown = 0
  const row = new Row(`${AT_ONCE} mounts at once, 10 files changed in each`, async () => {
    const all = await Promise.all(Array.from({ length: AT_ONCE }, () => fixture({ lower })))
    for (const one of all) change(one.path, 10)
    grown = Math.max(grown, process.memoryUsage.rss() - before)
    return async () => {
      await Promise.all(all.map((one) => one.unmount()))
    }
  })
  for (let i = 0; i < 3; i++) await row.round()
  row.tell(` (${grown >> 20} MiB more)`)
}

try {
  process.stdout.write(`Load ${loadavg()[0]?.toFixed(1)}, node ${process.version}\n\n`)
  process.stdout.write('| | median ms | least ms | processor ms |\n|---|---|---|---|\n')
  const counts = values.files.split(',').map(Number)
  const lowers = new Map(counts.map((count) => [count, tree(join(scratch, `tree${count}`), count)]))
  await mounts(lowers)
  await atOnce()
  for (const [count, lower] of lowers) {
    const label = `${count} files`
    const times = count > 10_000 ? 1 : rounds
    await mounted(label, lower, count, times)
    await inMemory(label, lower, times)
    await copied(label, lower, times)
  }
} finally {
  for (const dir of [scratch, memory]) rmSync(dir, { recursive: true, force: true })
}
