/** Turns the traps into vitest's tests, for one identity. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command, environment, type Identity, powers, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Stage, stage } from '../support/stage.js'
import { TRAPS } from './cases/index.js'
import type { Job } from './driver.js'

/** A trap that says nothing for so long hangs. */
const SILENCE_MS = 30_000

type Outcomes = Map<string, string | undefined>

/** @returns what each trap threw, undefined where it held; a trap is missing where the run ended before it */
async function run(as: Identity, staged: Stage, names: string[]): Promise<Outcomes> {
  const dir = scratch('traps', as)
  const job: Job = {
    scratch: dir,
    as: powers(as),
    names,
    server: path.join(staged.dir, 'tests/server.js'),
    library: path.join(staged.dir, 'dist/index.js'),
  }
  const driver = path.join(staged.dir, 'tests/driver.js')
  const [file = '', ...args] = command(as, [staged.node, driver, JSON.stringify(job)])
  const child = spawn(file, args, {
    cwd: dir,
    env: environment(as),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const outcomes: Outcomes = new Map()
  let stderr = ''
  let running = 'the start'
  let hung: string | undefined
  const kill = (): void => {
    hung = running
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
    running = start ?? running
    if (name !== undefined) outcomes.set(name, error)
  })
  const status = await new Promise<number | string | null>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(code ?? signal))
  })
  clearTimeout(watchdog)
  discard(dir)
  const end = hung === undefined ? `ended with ${status}` : `hung in "${hung}" and was killed`
  for (const name of names) {
    if (!outcomes.has(name)) outcomes.set(name, `did not run: the driver ${end}\n${stderr}`)
  }
  return outcomes
}

/** Declares one test a trap that `as` can meet. */
export function traps(as: Identity): void {
  const names = [...TRAPS]
    .filter(([, { as: who }]) => who === undefined || who.includes(powers(as)))
    .map(([n]) => n)

  describe(`traps, ${as}`, () => {
    let staged: Stage
    let outcomes: Outcomes

    beforeAll(async () => {
      staged = stage()
      for (const program of ['driver', 'server'])
        await staged.program(path.join(import.meta.dirname, `${program}.ts`))
      outcomes = await run(as, staged, names)
    })
    afterAll(() => staged?.remove())

    for (const name of names)
      it(name, async ({ task }) => {
        if ((task.result?.retryCount ?? 0) > 0)
          outcomes = new Map([...outcomes, ...(await run(as, staged, [name]))])
        const error = outcomes.get(name)
        expect(error, error).toBeUndefined()
      })
  })
}
