/** `layerfs/testing`: stacked directories for tests. */

export type { FixtureChange } from './changes.js'
export { type Fixture, type FixtureOptions, fixture, freeStale, type Leak, type Snapshot } from './fixture.js'
export { assertChanged, assertUnchanged, type SuiteHooks, suiteFixture } from './suite.js'
