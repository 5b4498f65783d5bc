/** A program that runs cases in a process of its own, as another user, and may hang. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { command, environment, type Identity } from './identity.js'

/** A case that says nothing for so long hangs. */
const SILENCE_MS = 30_000

/** What each case threw, undefined where it passed. */
export type Outcomes = Map<string, string | undefined>

/**
 * Runs a program that says `{start}` before each case and `{name, error?}` after it, a line each.
 *
 * @param argv the program; @param dir its working directory; @param names of the cases: those it does not tell of have failed
 */
export async function told(
  as: Identity,
  argv: readonly string[],
  dir: string,
  names: readonly string[],
): Promise<{ outcomes: Outcomes; stderr: string }> {
  const [file = '', ...args] = command(as, argv)
  const child = spawn(file, args, {
    cwd: dir,
    env: environment(as),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const outcomes: Outcomes = new Map()
  let stderr = ''
  let running: string | undefined
  let hung: string | undefined
  const kill = (): void => {
    hung = running ?? 'what it does between cases'
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
    } catch {
      // It ended by itself meanwhile.
    }
  }
  let watchdog = setTimeout(kill, SILENCE_MS)
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    clearTimeout(watchdog)
    watchdog = setTimeout(kill, SILENCE_MS)
    const { start, name, error } = JSON.parse(line) as { start?: string; name?: string; error?: string }
    running = start
    if (name !== undefined) outcomes.set(name, error)
  })
  const status = await new Promise<number | string | null>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(code ?? signal))
  })
  clearTimeout(watchdog)
  const end = hung === undefined ? `ended with ${status}` : `hung in "${hung}" and was killed`
  for (const name of names)
    if (!outcomes.has(name)) outcomes.set(name, `did not run: the program ${end}\n${stderr}`)
  return { outcomes, stderr }
}
