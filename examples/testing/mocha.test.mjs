// mocha mocha.test.mjs
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { assertChanged, suiteFixture } from 'layerfs/testing'

describe('posts', () => {
  const files = suiteFixture(globalThis, { lower: join(import.meta.dirname, 'site') })

  it('can be added', async () => {
    writeFileSync(join(files().path, 'posts/third.md'), '# Third\n')
    await assertChanged(files(), ['posts/third.md'])
  })

  it('can be changed', async () => {
    writeFileSync(join(files().path, 'posts/first.md'), '# New\n')
    await assertChanged(files(), ['posts/first.md'])
    assert.equal(readFileSync(join(files().path, 'index.html'), 'utf8'), '<h1>Home</h1>\n')
  })
})
