import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { manual, markdown } from '../../scripts/docs-cli.js'

const stored = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

test('docs/cli.md says what the commands say: npm run docs makes it anew', async () => {
  expect(stored('docs/cli.md')).toBe(await markdown())
})

test('man/layerfs.1 says what the commands say: npm run docs makes it anew', async () => {
  expect(stored('man/layerfs.1')).toBe(await manual())
})
