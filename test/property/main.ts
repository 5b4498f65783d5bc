/**
 * `npm run test:property -- [--runs N] [--seed N] [--length N] [--path PATH]`: random histories for as long as one likes.
 * Needs root: the kernel's overlayfs takes part. The seed is the time of day unless given.
 */
import { parseArgs } from 'node:util'
import { histories } from './histories.js'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    length: { type: 'string', default: '40' },
    path: { type: 'string' },
  },
})
const plan = { runs: Number(values.runs), seed: Number(values.seed), length: Number(values.length) }
console.log(`${plan.runs} histories of up to ${plan.length} steps, seed ${plan.seed}`)
const failure = histories({ ...plan, ...(values.path === undefined ? {} : { path: values.path }) })
console.log(failure ?? 'all hold')
process.exit(failure === undefined ? 0 : 1)
