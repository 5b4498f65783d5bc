import type { Reporter, TestCase } from 'vitest/node'

/** Names, at the end of a run, the tests that failed once and passed when run again. */
export default class Retried implements Reporter {
  private readonly names: string[] = []

  onTestCaseResult(test: TestCase): void {
    if ((test.diagnostic()?.retryCount ?? 0) > 0 && test.ok()) {
      const why = test.result().errors?.[0]?.message.split('\n')[0] ?? 'no reason given'
      this.names.push(`${test.module.relativeModuleId} > ${test.fullName}: ${why}`)
    }
  }

  onTestRunEnd(): void {
    if (this.names.length === 0) return
    console.log(`passed only when run again (${this.names.length}):`)
    for (const name of this.names) console.log(`  ${name}`)
  }
}
