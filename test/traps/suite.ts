/** Turns the traps into vitest's tests, for one identity. */
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Identity, powers, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Stage, stage } from '../support/stage.js'
import { type Outcomes, told } from '../support/told.js'
import { TRAPS } from './cases/index.js'
import type { Job } from './driver.js'

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
  const { outcomes } = await told(as, [staged.node, driver, JSON.stringify(job)], dir, names)
  discard(dir)
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
