/**
 * Runs cases in a directory, in a process of its own: `runner JSON`. Says `{start}` before each case and
 * `{name, error?}` after it, a line each.
 */
import fs from 'node:fs'
import { CASES } from './cases/index.js'

export interface Work {
  dir: string
  /** Names of the cases, and the name in `dir` of each one's own directory. */
  cases: [name: string, dir: string][]
}

const say = (line: object): void => {
  fs.writeSync(1, `${JSON.stringify(line)}\n`)
}

const { dir, cases } = JSON.parse(process.argv[2] ?? '') as Work
process.umask(0o022)
for (const [name, own] of cases) {
  say({ start: name })
  try {
    CASES.find((it) => it.name === name)?.run(`${dir}/${own}`)
    say({ name })
  } catch (error) {
    say({ name, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}
process.exit(0)
