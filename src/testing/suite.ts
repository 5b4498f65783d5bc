/** Fixtures for test runners that have hooks, and assertions for those without matchers. */

import { AssertionError } from 'node:assert'
import { LayerfsError } from '../errors.js'
import { type Fixture, type FixtureOptions, fixture } from './fixture.js'
import { type Changed, verdict } from './verdict.js'

type Hook = (run: () => Promise<void>) => unknown

/** Hooks as node:test and mocha name them, or as jest and vitest do. */
export type SuiteHooks = { afterEach: Hook } & (
  | { before: Hook; after: Hook }
  | { beforeAll: Hook; afterAll: Hook }
)

/**
 * One fixture for the tests of a file or suite, mounted before the first and reset after each.
 *
 * @param hooks `import * as hooks from 'node:test'`; in mocha and jest `globalThis`
 * @returns gives the fixture, once the tests run
 */
export function suiteFixture(hooks: SuiteHooks, options: FixtureOptions): () => Fixture {
  let mounted: Fixture | undefined
  if (!('beforeAll' in hooks) && !('before' in hooks))
    throw new LayerfsError(
      'USAGE',
      "no hooks given: suiteFixture(hooks, { lower: DIR }) with import * as hooks from 'node:test', or globalThis",
    )
  const before = 'beforeAll' in hooks ? hooks.beforeAll : hooks.before
  const after = 'afterAll' in hooks ? hooks.afterAll : hooks.after
  before(async () => {
    mounted = await fixture(options)
  })
  hooks.afterEach(async () => {
    await mounted?.reset()
  })
  after(async () => {
    await mounted?.unmount()
    mounted = undefined
  })
  return () => {
    if (mounted === undefined) throw new Error('the fixture is mounted only while the tests of its suite run')
    return mounted
  }
}

/** Exactly these paths have changed. Directories that hold them need not be named. @throws AssertionError */
export async function assertChanged(fixture: Changed, expected: readonly string[]): Promise<void> {
  const { pass, message } = await verdict(fixture, expected)
  if (!pass) throw new AssertionError({ message: message(), stackStartFn: assertChanged })
}

/** Nothing has changed. @throws AssertionError */
export async function assertUnchanged(fixture: Changed): Promise<void> {
  const { pass, message } = await verdict(fixture, [])
  if (!pass) throw new AssertionError({ message: message(), stackStartFn: assertUnchanged })
}
