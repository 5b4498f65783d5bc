// node --test node.test.mjs
import assert from 'node:assert/strict'
import { appendFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as hooks from 'node:test'
import { assertChanged, assertUnchanged, suiteFixture } from 'layerfs/testing'

const { test } = hooks
const files = suiteFixture(hooks, { lower: join(import.meta.dirname, 'site') })

test('a test may change what it likes', async () => {
  appendFileSync(join(files().path, 'index.html'), '<p>More</p>\n')
  rmSync(join(files().path, 'posts'), { recursive: true })
  await assertChanged(files(), ['index.html', 'posts'])
})

test('the next one sees nothing of it', async () => {
  assert.deepEqual(readdirSync(join(files().path, 'posts')), ['first.md', 'second.md'])
  await assertUnchanged(files())
})
