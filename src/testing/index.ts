/** `layerfs/testing`: stacked directories for tests. */

export type { FixtureChange } from './changes.js'
export { type Fixture, type FixtureOptions, fixture, type Leak, type Snapshot } from './fixture.js'
export { freeStale } from './place.js'
export { assertChanged, assertUnchanged, type SuiteHooks, suiteFixture } from './suite.js'
