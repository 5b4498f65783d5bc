/** Turns the cases into vitest's tests, for one subject. */
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Identity, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Stage, stage } from '../support/stage.js'
import { type Outcomes, told } from '../support/told.js'
import { CASES } from './cases/index.js'
import type { Job } from './host.js'
import type { NamedCase } from './kit.js'
import type { Subject } from './subjects.js'

/** Where more cases fail it is no accident, and running each again would only take long. */
const RERUN_AT_MOST = 5

async function run(subject: Subject, staged: Stage, names: string[]): Promise<Outcomes> {
  const dir = scratch('conformance', subject.as)
  const job: Job = {
    scratch: dir,
    layout: subject.layout,
    system: subject.system ?? 'layerfs',
    options: subject.options ?? {},
    names,
    runner: path.join(staged.dir, 'tests/runner.js'),
    library: path.join(staged.dir, 'dist/index.js'),
  }
  const host = path.join(staged.dir, 'tests/host.js')
  const argv = [staged.node, host, JSON.stringify(job)]
  const { outcomes, stderr } = await told(subject.as, argv, dir, names)
  discard(dir)
  if (stderr !== '') console.error(`${label(subject)}:\n${stderr}`)
  return outcomes
}

const label = ({ as, layout, system, options }: Subject): string =>
  [as, layout, system, options?.transport].filter((part) => part !== undefined).join(', ')

const applies = (it: NamedCase, as: Identity): boolean =>
  it.needs === undefined || as === 'root' || (it.needs === 'mortal' && as === 'plain')

/** Declares one test a case that `subject` can run. */
export function conformance(subject: Subject): void {
  const except = subject.except ?? {}
  const cases = CASES.filter((it) => applies(it, subject.as))
  const names = cases.map((it) => it.name)

  describe(label(subject), () => {
    let staged: Stage
    let outcomes: Outcomes
    const failures = (): number => [...outcomes.values()].filter((error) => error !== undefined).length

    beforeAll(async () => {
      staged = stage()
      await staged.program(path.join(import.meta.dirname, 'host.ts'))
      await staged.program(path.join(import.meta.dirname, 'runner.ts'))
      outcomes = await run(subject, staged, names)
    })
    afterAll(() => staged?.remove())

    for (const name of names) {
      const reason = except[name]
      it(reason === undefined ? name : `${name} (cannot: ${reason})`, async ({ task }) => {
        const retried = (task.result?.retryCount ?? 0) > 0
        if (retried && failures() <= RERUN_AT_MOST) {
          outcomes = new Map([...outcomes, ...(await run(subject, staged, [name]))])
        }
        const error = outcomes.get(name)
        if (reason === undefined) {
          if (error !== undefined) throw Object.assign(new Error(), { message: error, stack: error })
        } else expect(error, 'passes after all: take it off the list of exceptions').toBeDefined()
      })
    }

    it('has no exception for a case that is none', () => {
      expect(Object.keys(except).filter((name) => !names.includes(name))).toEqual([])
    })
  })
}
