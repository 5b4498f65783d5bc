/** Starts `server` in a process of its own: synchronous calls on a mount that the test itself serves would hang. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { MountInput } from '../../src/options.js'
import { scratch } from '../support/identity.js'
import { release } from '../support/mounts.js'

/** Milliseconds in which the daemon must have said what is waited for. */
const PATIENCE = 30_000

export interface Daemon {
  dir: string
  mnt: string
  /** Waits for a line that begins so, counted from the last one waited for, and returns it. */
  says(beginning: string): Promise<string>
  /** SIGTERM asks the daemon to unmount, SIGHUP to detach lazily, SIGUSR2 to exit. */
  signal(name: 'SIGTERM' | 'SIGHUP' | 'SIGUSR2'): void
  /** The exit status, once it has ended. */
  ended: Promise<number | null>
  /** Ends it, whatever its state, and removes all it had. */
  remove(): Promise<void>
}

/**
 * @param prepare lays out `lower` (and `upper`) before they are mounted
 * @param extra options beside the stack, which has a lower, an upper and a workdir
 */
export async function daemon(
  prepare: (dir: string) => void = () => {},
  extra: MountInput = {},
): Promise<Daemon> {
  const dir = scratch('native')
  const at = (name: string): string => path.join(dir, name)
  for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
  prepare(dir)
  const options: MountInput = {
    lower: [at('lower')],
    upper: at('upper'),
    work: at('work'),
    mountpoint: at('mnt'),
    ...extra,
  }
  const server = path.join(import.meta.dirname, 'server.ts')
  const child = spawn(process.execPath, ['--import', 'tsx', server, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  let arrived = (): void => {}
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    arrived()
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))

  const says = (beginning: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no "${beginning}" from the daemon`)), PATIENCE)
      const look = (): boolean => {
        const found = lines.findIndex((line) => line.startsWith(beginning))
        if (found === -1) return false
        clearTimeout(timer)
        const line = lines[found] as string
        lines.splice(0, found + 1)
        resolve(line)
        return true
      }
      arrived = look
      if (look()) return
      void ended.then((status) => {
        if (!look()) reject(new Error(`the daemon ended with ${status} and no "${beginning}"`))
      })
    })

  const started: Daemon = {
    dir,
    mnt: at('mnt'),
    says,
    signal: (name) => void child.kill(name),
    ended,
    async remove() {
      release(dir)
      child.kill('SIGKILL')
      await ended
      release(dir)
      fs.rmSync(dir, { recursive: true, force: true })
    },
  }
  try {
    await says('ready')
  } catch (error) {
    await started.remove()
    throw error
  }
  return started
}
