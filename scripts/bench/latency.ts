/** What a single call waits: for a mount, and for a stat while slow work is under way. And memory at rest. */
import { spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cpuOf, daemonOf, rssOf } from './measure.js'
import { median, table } from './report.js'
import { must } from './run.js'
import { mount, type Place, type System, systems, unmount } from './systems.js'

const PEERS = ['fuse-overlayfs', 'unionfs-fuse', 'mergerfs', 'layerfs', 'layerfs-native', 'layerfs-user']
/** Bytes of the file that is copied up beside the stats. */
const LARGE = 2 * 1024 ** 3

/** Looks up names that nobody has asked for, one a millisecond, until told to stop: each goes to the daemon. */
const PROBE = `
const fs = require('node:fs')
const times = []
let n = 0
process.stdin.on('end', () => {
  times.sort((a, b) => a - b)
  const at = (q) => times[Math.min(times.length - 1, Math.floor(times.length * q))]
  console.log(JSON.stringify({ count: n, p50: at(0.5), p99: at(0.99), max: times.at(-1) }))
  process.exit()
})
process.stdin.resume()
setInterval(() => {
  const began = performance.now()
  fs.existsSync(process.argv[1] + '/absent' + n++)
  times.push(performance.now() - began)
}, 1)
console.log('ready')
`

interface Probe {
  count: number
  p50: number
  p99: number
  max: number
}

/** Runs lines of bash while the probe does. @param after runs before the last stat has to be back */
async function probe(mnt: string, lines: readonly string[], after: () => void = () => {}): Promise<Probe> {
  const child = spawn(process.execPath, ['-e', PROBE, mnt], { stdio: ['pipe', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  while (!said.includes('ready')) await new Promise((resolve) => setTimeout(resolve, 10))
  for (const line of lines) {
    const work = spawn('bash', ['-euc', line], { stdio: ['ignore', 'ignore', 'inherit'] })
    await new Promise<void>((resolve) => work.on('close', () => resolve()))
  }
  after()
  child.stdin.end()
  await closed
  return JSON.parse(said.split('\n')[1] ?? '') as Probe
}

export async function latency(under: string, rounds: number): Promise<string[]> {
  const dir = join(under, `latency-${process.pid}`)
  const chosen = systems([]).filter((s) => PEERS.includes(s.name))
  const lower = join(dir, 'lower')
  mkdirSync(lower, { recursive: true })
  must(`head -c ${LARGE} /dev/zero | tr '\\0' x > ${lower}/large`)
  must(`chmod -R a+rwX ${dir}`)
  const place = (): Place => {
    const at = (name: string): string => join(dir, name)
    must(`cd ${dir} && rm -rf upper work mnt && mkdir upper work mnt && chmod a+rwx upper work mnt`)
    return {
      lowers: [lower],
      plain: lower,
      upper: at('upper'),
      work: at('work'),
      mnt: at('mnt'),
      writes: true,
    }
  }
  try {
    const rest = await mounts(chosen, place, Math.max(rounds, 5))
    const busy: string[][] = [['', 'stats', 'median ms', '99th percentile', 'worst']]
    for (const system of chosen.filter((s) => !s.asUser)) {
      const p = place()
      mount(system, p)
      try {
        if (system.copiesUp)
          busy.push(
            row(
              `${system.name}: beside a copy-up of 2 GiB`,
              await probe(p.mnt, [`echo more >> ${p.mnt}/large`]),
            ),
          )
        const write = `dd if=/dev/zero of=${p.mnt}/new bs=1M count=512 conv=fsync 2> /dev/null`
        busy.push(row(`${system.name}: beside 512 MiB written and fsync`, await probe(p.mnt, [write])))
      } finally {
        unmount(system, p.mnt)
      }
      busy.push(
        row(`${system.name}: beside a lower that is stuck for 2 s`, await stuck(system, place(), dir)),
      )
    }
    return [
      ...table(rest),
      '',
      'A lookup elsewhere, one each millisecond:',
      ...table(busy),
      '',
      ...inProcess(place()),
    ]
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Another lower above, served by a daemon that is stopped while somebody waits for a file in it. */
async function stuck(system: System, p: Place, dir: string): Promise<Probe> {
  must(
    `cd ${dir} && mkdir -p away/away lower/near remote && echo text > away/away/file && chmod -R a+rX away`,
  )
  const remote = join(dir, 'remote')
  must(`unionfs -o ro,allow_other ${dir}/away=RO ${remote}`)
  const server = daemonOf(remote)
  if (server === undefined) throw new Error(`nobody serves ${remote}`)
  try {
    mount(system, { ...p, lowers: [remote, ...p.lowers] })
    try {
      must(`ls ${p.mnt}/near ${p.mnt}/away`)
      process.kill(server, 'SIGSTOP')
      const waiting = `cat ${p.mnt}/away/file > /dev/null & sleep 2`
      return await probe(`${p.mnt}/near`, [waiting], () => process.kill(server, 'SIGCONT'))
    } finally {
      process.kill(server, 'SIGCONT')
      unmount(system, p.mnt)
    }
  } finally {
    must(`umount ${remote}`)
  }
}

const row = (name: string, p: Probe): string[] => [
  name,
  String(p.count),
  p.p50.toFixed(2),
  p.p99.toFixed(2),
  p.max.toFixed(2),
]

/** From the shell to a ready mount; then, a second later, the daemon's memory and what it costs at rest. */
async function mounts(chosen: readonly System[], place: () => Place, rounds: number): Promise<string[][]> {
  const out = [['', 'ready, ms', 'resident at rest, MiB', '% of a processor at rest']]
  const all = new Map<string, { ready: number[]; rss: number; idle: number }>()
  for (let round = 0; round < rounds; round++) {
    for (const system of chosen) {
      const p = place()
      const ready = mount(system, p)
      try {
        const pid = daemonOf(p.mnt)
        const seen = all.get(system.name) ?? { ready: [], rss: 0, idle: 0 }
        all.set(system.name, seen)
        seen.ready.push(ready)
        if (round === 0 && pid !== undefined) {
          await new Promise((resolve) => setTimeout(resolve, 1000))
          const before = cpuOf(pid)
          await new Promise((resolve) => setTimeout(resolve, 4000))
          seen.idle = (cpuOf(pid) - before) / 40
          seen.rss = rssOf(pid, 'VmRSS')
        }
      } finally {
        unmount(system, p.mnt)
      }
    }
  }
  for (const [name, seen] of all)
    out.push([name, median(seen.ready).toFixed(0), seen.rss.toFixed(0), seen.idle.toFixed(3)])
  return out
}

/** Mounts ten times from one process. */
function inProcess(p: Place): string[] {
  const module = join(import.meta.dirname, '../../dist/index.js')
  const script = `
    const { mount } = await import(${JSON.stringify(module)})
    const times = []
    for (let i = 0; i < 10; i++) {
      const began = performance.now()
      const m = await mount({ mountpoint: ${JSON.stringify(p.mnt)}, lower: ${JSON.stringify(p.lowers)}, upper: ${JSON.stringify(p.upper)}, work: ${JSON.stringify(p.work)} })
      times.push(performance.now() - began)
      await m.unmount()
    }
    console.log(times.map((t) => t.toFixed(1)).join(' '))
    process.exit()`
  const said = must(
    `timeout 60 ${process.execPath} --input-type=module -e '${script.replace(/'/g, `'\\''`)}'`,
  )
  return [`mount() in one process, one after the other, ms: ${said.trim()}`]
}
