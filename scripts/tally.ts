/**
 * Prints the line that CI reads, `N passed, N failed`, from vitest's JSON results: `tally FILE...`. Of a test file that
 * ran again, what the last of the results says counts. `tally --failed FILE` prints the test files that failed instead.
 *
 * A test that a failed beforeAll kept from running counts as failed, and a file that failed without any test is one
 * failure. Exits 1 where something failed, where nothing ran, or where there are no results.
 */
import fs from 'node:fs'
import { pathToFileURL } from 'node:url'

interface FileResult {
  name: string
  status: string
  assertionResults: { status: string }[]
}

interface Results {
  testResults: FileResult[]
}

export interface Tally {
  passed: number
  failed: number
  skipped: number
}

export function tally(...runs: Results[]): Tally {
  const files = new Map<string, FileResult>()
  for (const run of runs) for (const file of run.testResults) files.set(file.name, file)
  const sum: Tally = { passed: 0, failed: 0, skipped: 0 }
  for (const file of files.values()) {
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

export const failedFiles = (results: Results): string[] =>
  results.testResults.filter((file) => file.status === 'failed').map((file) => file.name)

export function line(sum: Tally): string {
  const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''
  return `${sum.passed} passed, ${sum.failed} failed${skipped}`
}

function read(file: string): Results {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')) as Results
  } catch {
    console.error(`tally: vitest left no results in ${file}: it ended before its tests did`)
    console.log('0 passed, 1 failed')
    process.exit(1)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const args = process.argv.slice(2)
  if (args[0] === '--failed') for (const name of failedFiles(read(args[1] ?? ''))) console.log(name)
  else {
    const sum = tally(...args.map(read))
    console.log(line(sum))
    if (sum.failed > 0 || sum.passed === 0) process.exitCode = 1
  }
}
