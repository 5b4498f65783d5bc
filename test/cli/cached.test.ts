/** The scripts that every mount waits for, and what V8 has compiled of them: src/cached.ts. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cacheOf } from '../../src/cached.js'
import { scratch } from '../support/identity.js'

const BUNDLE = path.resolve(import.meta.dirname, '../../dist/bundle')

let dir: string
beforeEach(() => {
  dir = scratch('cached')
})
afterEach(() => fs.rmSync(dir, { recursive: true }))

/** Loads a script in a process without flags, as a mount does. */
function load(file: string): { rejected: boolean | null; exports: unknown } {
  const script = `
    const { script, exports } = require(process.argv[1]).load(process.argv[2])
    console.log(JSON.stringify({ rejected: script.cachedDataRejected ?? null, exports }))
    process.exit()
  `
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['-e', script, path.join(BUNDLE, 'cached.cjs'), file],
    { encoding: 'utf8' },
  )
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

describe('scripts of the bundle', () => {
  test.each(['launched', 'worker'])('%s is not compiled when it is started', (name) => {
    const script = /resolve\('\.\/([^']*)'/.exec(fs.readFileSync(path.join(BUNDLE, `${name}.cjs`), 'utf8'))
    expect(load(path.join(BUNDLE, script?.[1] ?? '')).rejected).toBe(false)
  })

  test('run without compiled code, and with some that V8 refuses', () => {
    const file = path.join(dir, 'script.cjs')
    fs.writeFileSync(file, "module.exports = [require('./other.cjs'), __filename]\n")
    fs.writeFileSync(path.join(dir, 'other.cjs'), "module.exports = 'other'\n")
    const exports = ['other', file]
    expect(load(file)).toEqual({ rejected: null, exports })
    const another = fs.readdirSync(BUNDLE).find((name) => name.endsWith('.cache')) ?? ''
    for (const wrong of [
      Buffer.alloc(0),
      Buffer.from('no code'),
      fs.readFileSync(path.join(BUNDLE, another)),
    ]) {
      fs.writeFileSync(cacheOf(file), wrong)
      expect(load(file)).toEqual({ rejected: true, exports })
    }
  })
})
