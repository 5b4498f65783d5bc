/**
 * The benchmark: `npm run bench -- [compare|growth|latency|profile] [flags]`.
 *
 *   compare   (the default) every workload on every system, rounds interleaved
 *   growth    what work costs as it grows: files, layers, entries of a directory, bytes of a copy-up
 *   latency   what a single call waits: mount, stat beside slow work, memory at rest
 *   profile   where the session's time goes, by function
 *
 *   --only A,B       workloads whose name holds one of these
 *   --systems A,B    systems by name
 *   --rounds N       default 3
 *   --dir DIR        where data and layers lie; default /dev/shm/layerfs-bench, so that no disk adds noise
 *   --against DIR,.. other checkouts of layerfs, built, measured beside this one
 *   --json FILE      results; --svg FILE: their picture
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Data } from './data.js'
import { growth } from './growth.js'
import { latency } from './latency.js'
import { Bench, type Outcome } from './measure.js'
import { comparison, plots } from './picture.js'
import { profile } from './profile.js'
import { type Results, rowsOf, tables } from './report.js'
import { check, type System, systems } from './systems.js'
import { WORKLOADS, type Workload } from './workloads.js'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    systems: { type: 'string', default: '' },
    rounds: { type: 'string', default: '3' },
    dir: { type: 'string', default: '/dev/shm/layerfs-bench' },
    against: { type: 'string', default: '' },
    json: { type: 'string' },
    svg: { type: 'string' },
  },
})

const list = (words: string): string[] => words.split(',').filter((word) => word !== '')
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const load = (): number => Math.round((os.loadavg()[0] ?? 0) * 10) / 10

function chosenSystems(): System[] {
  const all = systems(list(flags.against).map((dir) => resolve(dir)))
  const names = list(flags.systems)
  const unknown = names.find((name) => !all.some((s) => s.name === name))
  if (unknown !== undefined)
    throw new Error(`no system is called ${unknown}: choose of ${all.map((s) => s.name).join(', ')}`)
  return names.length === 0 ? all : all.filter((s) => names.includes(s.name))
}

function chosenWorkloads(): Workload[] {
  const words = list(flags.only)
  const chosen = WORKLOADS.filter((w) => words.length === 0 || words.some((word) => w.name.includes(word)))
  if (chosen.length === 0)
    throw new Error(`no workload's name holds ${flags.only}: ${WORKLOADS.map((w) => w.name).join(', ')}`)
  return chosen
}

/** Why a workload is not run on a system; undefined where it is. */
function unfit(system: System, workload: Workload): string | undefined {
  if (workload.copiesUp === true && !system.copiesUp) return 'files of lowers cannot be changed'
  if (workload.rootOnly === true && system.asUser) return 'only root may'
  return undefined
}

const keep = (results: unknown): void => {
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, undefined, 1)}\n`)
}

function compare(): Results {
  const chosen = chosenSystems()
  check(chosen)
  const rounds = Number(flags.rounds)
  const data = { root: new Data(flags.dir), user: new Data(flags.dir, 'user') }
  data.root.prepare(say)
  if (chosen.some((system) => system.asUser)) data.user.prepare(say)
  const bench = new Bench(data, flags.dir)
  const results: Results = {
    date: new Date().toISOString().slice(0, 10),
    version: (
      JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }
    ).version,
    kernel: os.release(),
    node: process.versions.node,
    processors: os.cpus().length,
    load: [load(), 0],
    rounds,
    systems: chosen.map((s) => s.name),
    rows: [],
  }
  bench.open()
  try {
    for (const workload of chosenWorkloads()) {
      const outcomes = new Map<string, Outcome[]>(chosen.map((s) => [s.name, []]))
      const failures = new Map<string, string>()
      for (let round = 0; round < rounds; round++) {
        for (const system of chosen) {
          const why = failures.get(system.name) ?? unfit(system, workload)
          if (why !== undefined) {
            failures.set(system.name, why)
            continue
          }
          try {
            outcomes.get(system.name)?.push(bench.once(system, workload))
          } catch (error) {
            failures.set(system.name, error instanceof Error ? error.message : String(error))
          }
        }
      }
      results.rows.push(...rowsOf(workload.name, workload.group, outcomes, failures))
      // A run takes long: what ends it early must not cost what it has measured.
      keep(results)
      say(
        `${workload.name}: ${[...outcomes].map(([s, o]) => `${s} ${o.map((x) => Math.round(x.cold.ms)).join('/')}`).join(', ')}`,
      )
    }
  } finally {
    bench.close()
  }
  results.load[1] = load()
  return results
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new Error('run this as root: it mounts the peers and counts their requests')
  mkdirSync(flags.dir, { recursive: true })
  const kind = positionals[0] ?? 'compare'
  if (kind === 'compare') {
    const results = compare()
    process.stdout.write(`${tables(results).join('\n')}\n`)
    keep(results)
    if (flags.svg !== undefined) writeFileSync(flags.svg, comparison(results))
  } else if (kind === 'growth') {
    const chosen = chosenSystems()
    check(chosen)
    const list = growth(chosen, flags.dir, Number(flags.rounds), say)
    keep(list)
    if (flags.svg !== undefined) writeFileSync(flags.svg, plots(list, 'Cost as the work grows'))
    else process.stdout.write(`${JSON.stringify(list, undefined, 1)}\n`)
  } else if (kind === 'latency')
    process.stdout.write(`${(await latency(flags.dir, Number(flags.rounds))).join('\n')}\n`)
  else if (kind === 'profile') {
    const data = new Data(flags.dir)
    data.prepare(say)
    process.stdout.write(`${(await profile(data, chosenWorkloads(), flags.dir)).join('\n')}\n`)
  } else throw new Error(`no benchmark is called ${kind}: compare, growth, latency, profile`)
}

try {
  await main()
} catch (error) {
  say(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
