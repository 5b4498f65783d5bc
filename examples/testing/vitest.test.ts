// vitest run
import { execFileSync } from 'node:child_process'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fixtureTest } from 'layerfs/vitest'
import { describe, expect } from 'vitest'

const lower = join(import.meta.dirname, 'site')
const test = fixtureTest({ lower })

describe('at once, each on a mount of its own', () => {
  test.concurrent.for(['one', 'two', 'three'])('%s', async (word, { expect, files }) => {
    appendFileSync(join(files.path, 'index.html'), `${word}\n`)
    execFileSync('sh', ['-c', 'sleep 0.05; echo more >> posts/first.md'], { cwd: files.path })
    expect(readFileSync(join(files.path, 'index.html'), 'utf8')).toBe(`<h1>Home</h1>\n${word}\n`)
    await expect(files).toHaveChanged(['index.html', 'posts/first.md'])
  })
})

const kept = fixtureTest({ lower, scope: 'worker' })

describe('one after another, on one mount', () => {
  kept('changes', async ({ files }) => {
    appendFileSync(join(files.path, 'index.html'), 'more\n')
    await expect(files).toHaveChanged(['index.html'])
  })
  kept('starts anew', async ({ files }) => {
    await expect(files).toBeUnchanged()
  })
})

test('snapshots', async ({ files }) => {
  appendFileSync(join(files.path, 'posts/first.md'), 'kept\n')
  const before = await files.snapshot()
  appendFileSync(join(files.path, 'posts/first.md'), 'dropped\n')
  await files.restore(before)
  expect(readFileSync(join(files.path, 'posts/first.md'), 'utf8')).toBe('# First\nkept\n')
})

if (process.env.SHOW_FAILURE)
  test('a failure shows what differs', async ({ files }) => {
    appendFileSync(join(files.path, 'index.html'), '<p>More</p>\n')
    await expect(files).toHaveChanged(['posts/third.md'])
  })
