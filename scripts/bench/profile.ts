/** Where the session's time goes while a workload runs: V8's sampling profiler (`node --cpu-prof`), self time by function. */
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Data } from './data.js'
import { table } from './report.js'
import { must, shell } from './run.js'
import type { Workload } from './workloads.js'

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string } }[]
  samples: number[]
  /** Microseconds. */
  timeDeltas: number[]
}

/** Functions in which the session waits for requests. */
const WAITING = new Set(['readFd', 'waitReadable', '(idle)'])
const OURS = /\/dist\/|koffi|lru-cache/

/** The functions listed, the most expensive first. */
const ROWS = 12
const INTERVAL_US = 200

export async function profile(data: Data, workloads: readonly Workload[], under: string): Promise<string[]> {
  const lines: string[] = []
  for (const workload of workloads) lines.push(...(await one(data, workload, under)), '')
  return lines
}

async function one(data: Data, workload: Workload, under: string): Promise<string[]> {
  const scratch = join(under, `profile-${process.pid}`)
  const at = (name: string): string => join(scratch, name)
  rmSync(scratch, { recursive: true, force: true })
  for (const name of ['upper', 'work', 'mnt', 'out']) mkdirSync(at(name), { recursive: true })
  const { lowers } = data.stack(workload.stack)
  const options = { lower: lowers, upper: at('upper'), work: at('work'), mountpoint: at('mnt') }
  const child = spawn(
    process.execPath,
    [
      ...['--cpu-prof', `--cpu-prof-dir=${at('prof')}`, `--cpu-prof-interval=${INTERVAL_US}`],
      ...['--import', 'tsx', join(import.meta.dirname, 'serve.ts'), JSON.stringify(options)],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve())
      child.once('close', () => reject(new Error(`${workload.name}: the mount to be profiled has ended`)))
    })
    const how = { env: data.environment(at('out')) }
    if (workload.before !== undefined) must(`cd ${at('mnt')} && ${workload.before}`, how)
    const ran = shell(`cd ${at('mnt')} && { ${workload.run}; }`, how)
    if (!ran.ok) throw new Error(`${workload.name}: ${ran.said}`)
    must(`umount ${at('mnt')}`)
    await ended
    const file = readdirSync(at('prof'))[0] ?? ''
    return report(
      workload.name,
      ran.ms,
      JSON.parse(readFileSync(join(at('prof'), file), 'utf8')) as CpuProfile,
    )
  } finally {
    shell(`umount -l ${at('mnt')}`)
    child.kill('SIGKILL')
    rmSync(scratch, { recursive: true, force: true })
  }
}

function report(name: string, ms: number, { nodes, samples, timeDeltas }: CpuProfile): string[] {
  const frames = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const self = new Map<string, number>()
  let served = 0
  for (const [i, id] of samples.entries()) {
    const frame = frames.get(id)
    const what = frame?.functionName ?? ''
    const collecting = what === '(garbage collector)'
    if (frame === undefined || WAITING.has(what) || (!collecting && !OURS.test(frame.url))) continue
    const us = timeDeltas[i] ?? 0
    served += us
    self.set(what, (self.get(what) ?? 0) + us)
  }
  const rows = [...self].sort((a, b) => b[1] - a[1]).slice(0, ROWS)
  return [
    `${name}: ${ms.toFixed(0)} ms, of which the session worked ${(served / 1000).toFixed(0)}`,
    ...table([
      ['function', 'ms', '%'],
      ...rows.map(([what, us]) => [
        what || '(anonymous)',
        (us / 1000).toFixed(0),
        ((us / served) * 100).toFixed(0),
      ]),
    ]),
  ]
}
