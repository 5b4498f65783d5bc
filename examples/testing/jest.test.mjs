// NODE_OPTIONS=--experimental-vm-modules jest (jest.config.mjs: transform {} and testMatch for .mjs)
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertChanged, assertUnchanged, suiteFixture } from 'layerfs/testing'

const files = suiteFixture(globalThis, { lower: join(dirname(fileURLToPath(import.meta.url)), 'site') })

test('a post can be added', async () => {
  writeFileSync(join(files().path, 'posts/third.md'), '# Third\n')
  await assertChanged(files(), ['posts/third.md'])
})

test('the next test sees nothing of it', () => assertUnchanged(files()))
