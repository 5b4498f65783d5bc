/** What the testing library answers to those who use it wrongly. */
import fs from 'node:fs'
import path from 'node:path'
import * as nodeTest from 'node:test'
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from 'vitest'
import type { Fixture, FixtureOptions, SuiteHooks } from '../../src/testing/index.js'
import { scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { makeTree, testing } from './kit.js'

let dir: string
let lower: string
beforeEach(() => {
  dir = scratch('misuse')
  lower = makeTree(path.join(dir, 'site'))
})
afterEach(() => discard(dir))

/** As from JavaScript, which no compiler has looked at. */
const untyped = (options: object): FixtureOptions => options as FixtureOptions

describe('a fixture', () => {
  it('says what it lacks', async () => {
    const { fixture } = await testing()
    await expect(fixture(untyped({}))).rejects.toMatchObject({
      code: 'USAGE',
      message: 'no fixture directory given: fixture({ lower: DIR })',
    })
    await expect(fixture(untyped({ lower, fallback: 'clone' }))).rejects.toMatchObject({
      code: 'USAGE',
      message: "there is no fallback clone: the only one is 'copy'",
    })
    await expect(fixture({ lower: path.join(lower, 'index.html') })).rejects.toMatchObject({
      code: 'NOT_A_DIRECTORY',
    })
    expect(fs.readdirSync(dir)).toEqual(['site'])
  })

  it('says that it is unmounted, whatever is asked of it', async () => {
    const { fixture } = await testing()
    const files = await fixture({ lower })
    const kept = await files.snapshot()
    await files.unmount()
    const asked: ((one: Fixture) => Promise<unknown>)[] = [
      (one) => one.diff(),
      (one) => one.patch(),
      (one) => one.reset(),
      (one) => one.snapshot(),
      (one) => one.restore(kept),
      (one) => one.commit(path.join(dir, 'layer')),
    ]
    for (const ask of asked)
      await expect(ask(files)).rejects.toMatchObject({
        code: 'USAGE',
        message: `the fixture ${files.path} is unmounted: make another one`,
      })
    await files.unmount()
  })

  it('refuses a snapshot that is gone, and a layer that is there', async () => {
    const { fixture } = await testing()
    const before = await fixture({ lower })
    const gone = await before.snapshot()
    await before.unmount()
    await using files = await fixture({ lower })
    await expect(files.restore(gone)).rejects.toThrow('is gone: it lives as long as the fixture that took it')
    await expect(files.commit(lower)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: `${lower} exists: choose another name`,
    })
  })
})

describe('suiteFixture', () => {
  it('takes the hooks of each runner, and says so where it gets none', async () => {
    expectTypeOf(nodeTest).toExtend<SuiteHooks>()
    expectTypeOf<typeof import('vitest')>().toExtend<SuiteHooks>()
    expectTypeOf<typeof import('@jest/globals')>().toExtend<SuiteHooks>()
    const { suiteFixture } = await testing()
    expect(() => suiteFixture({} as SuiteHooks, { lower })).toThrow('no hooks given: suiteFixture(hooks,')
  })

  it('has no fixture before its tests run', async () => {
    const { suiteFixture } = await testing()
    const hook = (): void => {}
    const files = suiteFixture({ before: hook, after: hook, afterEach: hook }, { lower })
    expect(files).toThrow('the fixture is mounted only while the tests of its suite run')
  })
})
