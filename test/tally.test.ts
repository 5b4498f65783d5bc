import { describe, expect, it } from 'vitest'
import { failedFiles, line, tally } from '../scripts/tally.js'

let files = 0
const file = (status: string, ...tests: string[]) => ({
  name: `test/${++files}.test.ts`,
  status,
  assertionResults: tests.map((s) => ({ status: s })),
})

describe('tally', () => {
  it('adds up the files', () => {
    const sum = tally({
      testResults: [file('passed', 'passed', 'passed'), file('failed', 'passed', 'failed')],
    })
    expect(line(sum)).toBe('3 passed, 1 failed')
  })

  it('counts the tests that a failed beforeAll kept from running as failed', () => {
    expect(tally({ testResults: [file('failed', 'skipped', 'skipped')] })).toEqual({
      passed: 0,
      failed: 2,
      skipped: 0,
    })
  })

  it('counts a file that failed before it had tests as one failure', () => {
    expect(tally({ testResults: [file('failed')] }).failed).toBe(1)
  })

  it('counts a file that ran again by its last results', () => {
    const first = file('failed', 'passed', 'failed')
    const again = { ...file('passed', 'passed', 'passed'), name: first.name }
    expect(failedFiles({ testResults: [first, file('passed', 'passed')] })).toEqual([first.name])
    const sum = tally({ testResults: [first, file('passed', 'passed')] }, { testResults: [again] })
    expect(line(sum)).toBe('3 passed, 0 failed')
  })

  it('tells of skipped tests', () => {
    expect(line(tally({ testResults: [file('passed', 'passed', 'skipped')] }))).toBe(
      '1 passed, 0 failed, 1 skipped',
    )
  })
})
