import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { LIMITS } from '../../src/native/limits.js'

it('docs/transports.md lists what fuse-native cannot carry, and nothing else', () => {
  const text = fs.readFileSync(path.join(import.meta.dirname, '../../docs/transports.md'), 'utf8')
  const section = text.slice(text.indexOf('### What it cannot carry'))
  const rows = [...section.matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)].map(([, name, why]) => [name, why])
  expect(rows).toEqual(Object.entries(LIMITS))
})
