/** Runs random histories and tells of the shortest that fails. */
import fc from 'fast-check'
import { Space } from '../support/space.js'
import { features, steps } from './ops.js'
import { World } from './world.js'

export interface Plan {
  seed: number
  runs: number
  /** Steps of a history at most. */
  length?: number
  /** Of an earlier failure: where fast-check was. */
  path?: string
}

/** @returns undefined where all hold; else what went wrong after which steps, and how to run that again */
export function histories({ seed, runs, length = 40, path }: Plan): string | undefined {
  process.umask(0o022)
  const space = new Space()
  const run = fc.property(features, steps(length), (chosen, history) => {
    const world = new World(chosen, space)
    try {
      world.run(history)
    } finally {
      world.remove()
    }
  })
  const result = fc.check(run, { seed, numRuns: runs, ...(path === undefined ? {} : { path }) })
  space.close()
  if (!result.failed) return undefined
  const error = result.errorInstance
  const again = `npm run test:property -- --seed ${seed} --length ${length} --path ${result.counterexamplePath}`
  return `${error instanceof Error ? error.message : error}\nagain: ${again}`
}
