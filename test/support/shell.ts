/** Running commands of the repository as a person would. */
import { spawn } from 'node:child_process'
import path from 'node:path'

/** The repository's top directory. */
export const TOP = path.resolve(import.meta.dirname, '../..')

export interface Ran {
  /** Exit code, or the signal that ended it. */
  status: number | string | null
  /** Standard output and standard error, as they came. */
  output: string
}

export interface RunOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  timeoutMs?: number
}

/**
 * Runs a program without input and gathers what it says. It is killed, with what it started, when its time is over.
 * What it leaves in the background must have closed its output: this waits for that.
 */
export function run(
  argv: readonly string[],
  { cwd = TOP, env = process.env, timeoutMs = 60_000 }: RunOptions = {},
): Promise<Ran> {
  const [file = '', ...args] = argv
  const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  }
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      output += `\nkilled after ${timeoutMs} ms`
      try {
        process.kill(-(child.pid ?? 0), 'SIGKILL')
      } catch {
        // It ended by itself meanwhile.
      }
    }, timeoutMs)
    const end = (status: number | string | null): void => {
      clearTimeout(timer)
      resolve({ status, output })
    }
    child.once('error', (error) => end(error.message))
    child.once('close', (code, signal) => end(code ?? signal))
  })
}

/** Runs shell text that stops at the first failure. */
export const shell = (script: string, options?: RunOptions): Promise<Ran> =>
  run(['bash', '-euo', 'pipefail', '-c', script], options)
