/** `layerfs/vitest`: a test that comes with a fixture, and matchers for what it has changed. */

import { expect, type TestAPI, test } from 'vitest'
import { type Fixture, type FixtureOptions, fixture } from './fixture.js'
import { type Changed, verdict } from './verdict.js'

export interface FixtureTestOptions extends FixtureOptions {
  /**
   * `test`, the default: each test mounts one of its own, so that they may run at once. `worker`: the tests that one
   * worker runs, one after another, have one that is reset in between.
   */
  scope?: 'test' | 'worker'
}

/** `test`, whose context has the fixture as `files`. */
export function fixtureTest({ scope = 'test', ...options }: FixtureTestOptions): TestAPI<{ files: Fixture }> {
  if (scope === 'test')
    return test.extend<{ files: Fixture }>({
      files: async ({}, use) => {
        const files = await fixture(options)
        await use(files)
        await files.unmount()
      },
    })
  return test
    .extend<{ kept: Fixture }>({
      kept: [
        async ({}, use) => {
          const files = await fixture(options)
          await use(files)
          await files.unmount()
        },
        { scope: 'worker' },
      ],
    })
    .extend<{ files: Fixture }>({
      files: async ({ kept }, use) => {
        await use(kept)
        await kept.reset()
      },
    })
}

interface FixtureMatchers<R> {
  /** Exactly these paths have changed. Directories that hold them need not be named. To be awaited. */
  toHaveChanged(paths: readonly string[]): R
  /** Nothing has changed. To be awaited. */
  toBeUnchanged(): R
}

declare module 'vitest' {
  interface Matchers<T> extends FixtureMatchers<Promise<T>> {}
}

expect.extend({
  toHaveChanged: (received: Changed, paths: readonly string[]) => verdict(received, paths),
  toBeUnchanged: (received: Changed) => verdict(received, []),
})
