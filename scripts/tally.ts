/**
 * Prints the line that CI reads, `N passed, N failed`, from vitest's JSON results: `tally FILE`.
 *
 * A test that a failed beforeAll kept from running counts as failed, and a file that failed without any test is one
 * failure. Exits 1 where something failed, where nothing ran, or where there are no results.
 */
import fs from 'node:fs'
import { pathToFileURL } from 'node:url'

interface Results {
  testResults: { status: string; assertionResults: { status: string }[] }[]
}

export interface Tally {
  passed: number
  failed: number
  skipped: number
}

export function tally(results: Results): Tally {
  const sum: Tally = { passed: 0, failed: 0, skipped: 0 }
  for (const file of results.testResults) {
    const count = (...statuses: string[]): number =>
      file.assertionResults.filter((test) => statuses.includes(test.status)).length
    const passed = count('passed')
    const failed = count('failed')
    const unrun = file.assertionResults.length - passed - failed
    sum.passed += passed
    if (file.status === 'failed' && failed === 0) sum.failed += Math.max(1, unrun)
    else {
      sum.failed += failed
      sum.skipped += unrun
    }
  }
  return sum
}

export function line(sum: Tally): string {
  const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''
  return `${sum.passed} passed, ${sum.failed} failed${skipped}`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const file = process.argv[2] ?? ''
  let results: Results
  try {
    results = JSON.parse(fs.readFileSync(file, 'utf8')) as Results
  } catch {
    console.error(`tally: vitest left no results in ${file}: it ended before its tests did`)
    console.log('0 passed, 1 failed')
    process.exit(1)
  }
  const sum = tally(results)
  console.log(line(sum))
  if (sum.failed > 0 || sum.passed === 0) process.exitCode = 1
}
