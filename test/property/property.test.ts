import { describe, it } from 'vitest'
import { histories } from './histories.js'

/** The same histories at every run, so that a failure is one of the change at hand. */
const SEED = 20261127
const RUNS = 40

describe('random histories', () => {
  it(`show on a stack what they show on a plain directory (seed ${SEED}, ${RUNS} runs)`, () => {
    const failure = histories({ seed: SEED, runs: RUNS })
    if (failure !== undefined) throw new Error(failure)
  })
})
