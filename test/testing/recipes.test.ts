/** The recipes of docs/testing.md for programs that know nothing of layerfs, each on its example. */
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { BIN, layerfs, type Ran, run } from '../support/command.js'
import { discard } from '../support/mounts.js'
import { differences, snapshot } from '../support/tree.js'
import { copyOfExamples } from './kit.js'

let dir: string
let tmp: string
let env: NodeJS.ProcessEnv
beforeEach(() => {
  dir = copyOfExamples()
  tmp = path.join(dir, 'tmp')
  fs.mkdirSync(tmp)
  const quiet = { PYTHONDONTWRITEBYTECODE: '1', PYTEST_ADDOPTS: '-p no:cacheprovider' }
  env = { ...process.env, ...quiet, TMPDIR: tmp, LAYERFS: `${process.execPath} ${BIN}` }
})
afterEach(() => discard(dir))

/** Runs it in an example, which is to be afterwards what it was. */
function unchanged(example: string, command: (cwd: string) => Ran): Ran {
  const cwd = path.join(dir, example)
  const before = snapshot(cwd)
  const ran = command(cwd)
  expect(differences(before, snapshot(cwd))).toEqual([])
  expect(fs.readdirSync(tmp).filter((name) => name.startsWith('layerfs-'))).toEqual([])
  return ran
}

it('make: what it writes is told and dropped', () => {
  const words = ['run', '--lower', '.', '--diff', '--', 'make', '--silent']
  const ran = unchanged('make', (cwd) => layerfs(words, { cwd, env }))
  expect(ran).toEqual({ code: 0, stdout: '', stderr: 'A /page.html\n' })
})

it('pytest: one mount for all tests, over the path that they know', () => {
  const words = ['run', '--over', 'data', '--diff', '--', 'pytest-3', '-q']
  const ran = unchanged('python/over', (cwd) => layerfs(words, { cwd, env }))
  expect(ran.stdout).toMatch(/^1 passed in /m)
  expect(ran).toMatchObject({ code: 0, stderr: 'C /greeting.txt\n' })
})

it('pytest: a mount for each test', () => {
  const ran = unchanged('python', (cwd) =>
    run('pytest-3', ['-q', 'test_posts.py', 'test_site.py'], { cwd, env }),
  )
  expect(ran.stdout).toMatch(/^4 passed in /m)
  expect(ran).toMatchObject({ code: 0, stderr: '' })
})

it('unittest: a mount for each test', () => {
  const ran = unchanged('python', (cwd) => run('python3', ['test_site.py'], { cwd, env }))
  expect(ran.stderr).toMatch(/Ran 2 tests in .*\n\nOK\n$/)
  expect(ran.code).toBe(0)
})
