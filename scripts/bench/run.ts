/** Child processes of the benchmark: shell lines with a bound, as root or as the plain user. */
import { spawnSync } from 'node:child_process'

/** The plain user that scripts/setup creates. */
export const USER = 'layerfs-test'

const LIMIT_MS = 300_000

export interface Ran {
  ms: number
  ok: boolean
  /** The last line of what it said on stderr. */
  said: string
  stdout: string
}

export interface How {
  cwd?: string
  asUser?: boolean
  env?: Readonly<Record<string, string>>
}

/** The words that run a program as root, who runs this, or as the plain user. */
export const wordsFor = (program: readonly string[], asUser = false): string[] =>
  asUser ? ['setpriv', '--reuid', USER, '--regid', USER, '--init-groups', ...program] : [...program]

/** Runs a program and waits for it. */
export function run(program: readonly string[], how: How = {}): Ran {
  const words = wordsFor(program, how.asUser)
  const began = performance.now()
  const child = spawnSync(words[0] as string, words.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    env: { ...process.env, LC_ALL: 'C', ...how.env },
    ...(how.cwd === undefined ? {} : { cwd: how.cwd }),
  })
  const ms = performance.now() - began
  const said = child.error?.message ?? child.stderr.toString().trim().split('\n').at(-1) ?? ''
  return { ms, ok: child.status === 0, said, stdout: child.stdout?.toString() ?? '' }
}

/** Runs a line of bash. */
export const shell = (line: string, how: How = {}): Ran => run(['bash', '-euo', 'pipefail', '-c', line], how)

/** @throws Error where it failed: the benchmark cannot go on without it */
export function must(line: string, how: How = {}): string {
  const ran = shell(line, how)
  if (!ran.ok) throw new Error(`${line.split('\n')[0]}: ${ran.said}`)
  return ran.stdout
}
