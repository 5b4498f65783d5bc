import { defineConfig } from 'vitest/config'

const results = process.env.LAYERFS_TEST_RESULTS

export default defineConfig({
  test: {
    // The long suites are a command of their own: `npm run test:long`.
    include: [process.env.LAYERFS_SUITES ? 'test/**/*.suite.ts' : 'test/**/*.test.ts'],
    // Mounts need processes of their own: a worker thread shares its umask, cwd and descriptors with others.
    pool: 'forks',
    maxWorkers: 2,
    // Bounds on a hang, not expectations of speed.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    // A loaded CI machine may starve one test; what passed only so is named at the end.
    retry: process.env.CI ? 1 : 0,
    reporters: results
      ? ['default', './test/support/retried.ts', ['json', { outputFile: results }]]
      : ['default', './test/support/retried.ts'],
  },
})
