/** One run of one workload on one system: time, requests, the daemon's processor time and memory. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Data } from './data.js'
import { Hosts } from './hosts.js'
import { must, shell, USER } from './run.js'
import { mount, type System, unmount } from './systems.js'
import type { Workload } from './workloads.js'

export interface Sample {
  /** Milliseconds. */
  ms: number
  /** Requests that the kernel sent to the daemon, FORGET left out. */
  requests: number
  /** Milliseconds of processor time the daemon took. */
  cpu: number
  /** The daemon's largest resident memory so far, MiB. */
  rss: number
}

export interface Outcome {
  /** Milliseconds from the command to the ready mount. */
  ready: number
  /** The first run in a fresh mount. */
  cold: Sample
  /** The second run in the same mount; none where the workload changes the tree. */
  warm?: Sample
}

/** Requests of one FUSE connection, counted by the kernel's tracepoint in a trace buffer of our own. */
class Requests {
  private readonly dir = `/sys/kernel/tracing/instances/layerfs-bench-${process.pid}`

  open(): void {
    mkdirSync(this.dir)
    writeFileSync(join(this.dir, 'buffer_size_kb'), '64')
  }

  watch(connection: number): void {
    const event = join(this.dir, 'events/fuse/fuse_request_send')
    writeFileSync(join(event, 'filter'), `connection == ${connection}`)
    writeFileSync(join(event, 'enable'), '1')
  }

  stop(): void {
    writeFileSync(join(this.dir, 'events/fuse/fuse_request_send/enable'), '0')
  }

  /** Entries that are in the buffer and that have fallen out of it. */
  count(): number {
    let sum = 0
    const cpus = join(this.dir, 'per_cpu')
    for (const cpu of readdirSync(cpus)) {
      const stats = readFileSync(join(cpus, cpu, 'stats'), 'latin1')
      for (const [, n] of stats.matchAll(/^(?:entries|overrun): (\d+)/gm)) sum += Number(n)
    }
    return sum
  }

  close(): void {
    if (existsSync(this.dir)) must(`rmdir ${this.dir}`)
  }
}

/** Minor number of a mount's device: the number of its FUSE connection. */
function connectionOf(mnt: string): { fuse: boolean; number: number } {
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const words = line.split(' ')
    if (words[4] !== mnt) continue
    return { fuse: line.includes(' - fuse'), number: Number(words[2]?.split(':')[1]) }
  }
  throw new Error(`nothing is mounted on ${mnt}`)
}

/** The process that serves a mountpoint: of those whose command line names it the youngest, as a daemon's parent may still be ending. */
export function daemonOf(mnt: string): number | undefined {
  let youngest: number | undefined
  for (const pid of readdirSync('/proc').map(Number)) {
    if (Number.isNaN(pid) || pid === process.pid || pid < (youngest ?? 0)) continue
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      if (words.split(/[\0 ]/).includes(mnt)) youngest = pid
    } catch {
      // It has ended meanwhile.
    }
  }
  return youngest
}

/** Milliseconds that all threads of a process have run. */
export function cpuOf(pid: number): number {
  let ns = 0
  for (const task of readdirSync(`/proc/${pid}/task`))
    ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0])
  return ns / 1e6
}

export function rssOf(pid: number, field: 'VmHWM' | 'VmRSS' = 'VmHWM'): number {
  const match = readFileSync(`/proc/${pid}/status`, 'latin1').match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))
  return Number(match?.[1] ?? 0) / 1024
}

export class Bench {
  private readonly requests = new Requests()
  private readonly hosts: Hosts
  private readonly scratch: string

  constructor(
    private readonly data: { root: Data; user: Data },
    under: string,
  ) {
    this.hosts = new Hosts(under)
    this.scratch = join(under, `run-${process.pid}`)
  }

  open(): void {
    this.requests.open()
  }

  close(): void {
    this.requests.close()
    this.hosts.end()
    rmSync(this.scratch, { recursive: true, force: true })
  }

  /** @throws Error where the system does not mount or the workload fails on it */
  once(system: System, workload: Workload): Outcome {
    const [upper, work, mnt, out] = ['upper', 'work', 'mnt', 'out'].map((name) =>
      join(this.scratch, name),
    ) as [string, string, string, string]
    const data = system.asUser ? this.data.user : this.data.root
    const owner = system.asUser ? USER : 'root'
    must(
      `rm -rf ${this.scratch} && mkdir -p ${upper} ${work} ${mnt} ${out} && chown -R ${owner}: ${this.scratch}`,
    )
    const host = system.hosted ? this.hosts.of(system.asUser) : undefined
    const served = host?.show()
    let ready: number
    try {
      const { writes, withoutUpper } = workload
      ready = mount(
        system,
        { ...data.stack(workload.stack), upper, work, mnt, writes, withoutUpper },
        host?.env,
      )
    } finally {
      host?.hide()
    }
    try {
      const pid = served ?? (system.mounts ? daemonOf(mnt) : undefined)
      if (system.mounts) {
        const connection = connectionOf(mnt)
        if (connection.fuse) this.requests.watch(connection.number)
      }
      const how = {
        cwd: mnt,
        asUser: system.asUser,
        env: data.environment(out),
      }
      if (workload.before !== undefined) must(`cd ${mnt} && ${workload.before}`, { ...how, cwd: '/' })
      const cold = this.sample(workload, pid, how)
      if (workload.writes) return { ready, cold }
      must(`rm -rf ${out}/* ${out}/.[!.]*`)
      return { ready, cold, warm: this.sample(workload, pid, how) }
    } finally {
      this.requests.stop()
      unmount(system, mnt)
    }
  }

  private sample(
    workload: Workload,
    pid: number | undefined,
    how: Parameters<typeof shell>[1] & { cwd: string },
  ): Sample {
    const cpu = pid === undefined ? 0 : cpuOf(pid)
    const requests = this.requests.count()
    // Root may not enter a user's mount, so the shell goes there itself.
    const ran = shell(`cd ${how.cwd} && { ${workload.run}; }`, { ...how, cwd: '/' })
    if (!ran.ok) throw new Error(ran.said)
    return {
      ms: workload.clock?.(ran.stdout) ?? ran.ms,
      requests: this.requests.count() - requests,
      cpu: pid === undefined ? 0 : cpuOf(pid) - cpu,
      rss: pid === undefined ? 0 : rssOf(pid),
    }
  }
}
