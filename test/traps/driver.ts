/** Runs traps in a process of the identity that is to meet them: `driver JSON`. Says `{start}` and `{name, error?}`, a line each. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Identity } from '../support/identity.js'
import { release } from '../support/mounts.js'
import { TRAPS } from './cases/index.js'
import type { Answer, Request } from './server.js'
import { Place, type Server } from './trap.js'

export interface Job {
  /** An empty directory of ours. */
  scratch: string
  as: Identity
  names: string[]
  server: string
  /** dist/index.js */
  library: string
}

const job = JSON.parse(process.argv[2] ?? '') as Job
process.umask(0o022)

let running: (Server & { child: ChildProcess }) | undefined

function start(): Server & { child: ChildProcess } {
  const child = spawn(process.execPath, [job.server, job.library], { stdio: ['pipe', 'pipe', 'inherit'] })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ask = async (request: Request): Promise<void> => {
    child.stdin.write(`${JSON.stringify(request)}\n`)
    const { value, done } = await answers.next()
    if (done === true) throw new Error('the server has ended')
    const { code, error } = JSON.parse(value) as Answer
    if (error !== undefined) throw Object.assign(new Error(error), { code })
  }
  return {
    child,
    pid: child.pid ?? 0,
    mount: (options) => ask({ mount: options }),
    unmount: (mountpoint) => ask({ unmount: mountpoint }),
    async kill() {
      running = undefined
      child.kill('SIGKILL')
      await once(child, 'close')
    },
  }
}

const server = async (): Promise<Server> => {
  running ??= start()
  return running
}

const say = (line: object): void => {
  fs.writeSync(1, `${JSON.stringify(line)}\n`)
}

for (const [i, name] of job.names.entries()) {
  say({ start: name })
  const dir = path.join(job.scratch, `trap-${i}`)
  fs.mkdirSync(dir)
  try {
    const place = new Place(dir, job.as, path.join(job.library, '../../bin/layerfs.js'), server)
    await TRAPS.get(name)?.run(place)
    if (fs.readdirSync(place.mnt()).length > 0) await place.unmount()
    say({ name })
  } catch (error) {
    say({ name, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    process.chdir('/')
    await running?.kill()
  }
  if (job.as !== 'plain') release(dir)
}
running?.child.stdin?.end()
if (running !== undefined) await once(running.child, 'close')
process.exit(0)
