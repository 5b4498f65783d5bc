/** The command as a user starts it, and the program behind it, built. */
import { type SpawnSyncOptions, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const COMMAND = fileURLToPath(new URL('../../bin/layerfs', import.meta.url))
export const BIN = `${COMMAND}.js`

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs `layerfs WORDS` to its end, within a minute. */
export const layerfs = (words: readonly string[], options: SpawnSyncOptions = {}): Ran =>
  run(COMMAND, words, options)

/** Runs any program to its end, within a minute. */
export function run(program: string, words: readonly string[], options: SpawnSyncOptions = {}): Ran {
  const ran = spawnSync(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
    ...options,
    encoding: 'utf8',
  })
  if (ran.error !== undefined) throw ran.error
  return { code: ran.status, stdout: ran.stdout ?? '', stderr: ran.stderr ?? '' }
}
