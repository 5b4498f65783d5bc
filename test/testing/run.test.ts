import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BIN, layerfs, run } from '../support/command.js'
import { command, environment, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { makeTree, namesIn } from './kit.js'

let dir: string
let lower: string
/** Where the command makes its mounts: nothing may be left there. */
let tmp: string
beforeEach(() => {
  dir = scratch('run')
  lower = makeTree(path.join(dir, 'site'))
  tmp = path.join(dir, 'tmp')
  fs.mkdirSync(tmp)
  fs.chmodSync(tmp, 0o1777)
})
afterEach(() => discard(dir))

const env = (): NodeJS.ProcessEnv => ({ ...process.env, TMPDIR: tmp })
const start = (words: readonly string[]) => layerfs(['run', ...words], { env: env(), cwd: dir })
const left = (): string[] => fs.readdirSync(tmp)

describe('layerfs run', () => {
  it('runs a program in the mount, tells what it changed, and drops that', () => {
    const script = 'ls; echo x > new; rm posts/first.md; echo said >&2; exit 3'
    const ran = start(['--lower', lower, '--diff', '--', 'sh', '-c', script])
    expect(ran).toEqual({
      code: 3,
      stdout: 'index.html\nposts\n',
      stderr: 'said\nA /new\nC /posts\nD /posts/first.md\n',
    })
    expect(namesIn(lower)).toEqual(['index.html', 'posts/', 'posts/first.md', 'posts/second.md'])
    expect(left()).toEqual([])
  })

  it('hands over every word after the dashes as it is', () => {
    const words = ['--lower', '-x', '007', '1e3', '', 'a b', '--']
    const ran = start(['--lower', lower, '--', 'printf', '[%s]', ...words])
    expect(ran).toEqual({ code: 0, stdout: words.map((w) => `[${w}]`).join(''), stderr: '' })
  })

  it('tells by its exit code how the program ended', () => {
    expect(start(['--lower', lower, '--', 'sh', '-c', 'kill -KILL $$']).code).toBe(137)
    const none = start(['--lower', lower, '--', 'no-such-program'])
    expect(none.code).toBe(127)
    expect(none.stderr).toBe('layerfs: cannot run no-such-program: no such file or directory (ENOENT)\n')
    expect(left()).toEqual([])
  })

  it('says in one line what is missing', () => {
    expect(start(['--lower', lower])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^.*-- PROGRAM\n$/),
    })
    expect(start(['--', 'true'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^.*--lower DIR.*\n$/),
    })
    expect(start(['--lower', lower, '--commit', lower, '--', 'true']).code).toBe(26)
    expect(start(['--over', path.join(dir, 'none'), '--', 'true']).code).toBe(3)
  })

  it('makes the changes a layer where the program ends well', () => {
    const layer = path.join(dir, 'layer')
    const failed = start(['--lower', lower, '--commit', layer, '--', 'sh', '-c', 'touch new; exit 1'])
    expect(failed).toMatchObject({ code: 1, stderr: `layerfs: ${layer} is not made: sh exited with 1\n` })
    expect(fs.existsSync(layer)).toBe(false)
    expect(start(['--lower', lower, '--commit', layer, '--', 'touch', 'new']).code).toBe(0)
    expect(namesIn(layer)).toEqual(['new'])
    const kept = start(['--lower', layer, '--lower', lower, '--keep', '--', 'touch', 'newer'])
    const where = /^layerfs: the changes are kept in (.*)\n$/.exec(kept.stderr)?.[1] ?? ''
    expect(namesIn(where)).toEqual(['newer'])
  })

  /** Starts it in the background, not on vitest's own output: an orphan holding that keeps vitest from ending. */
  const background = (words: readonly string[]) =>
    spawn(process.execPath, [BIN, 'run', '--lower', lower, '--', ...words], {
      env: env(),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 50_000,
      killSignal: 'SIGKILL',
    })

  it('passes signals on, and ends in order after them', async () => {
    // Bounded: a shell that is never told to end must not outlive the test.
    const script = 'trap "echo got it; exit 7" TERM; echo ready; for i in $(seq 800); do sleep 0.05; done'
    const child = background(['sh', '-c', script])
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        if (said === 'ready\n') child.kill('SIGTERM')
      })
    const [code] = await once(child, 'close')
    expect(said).toBe('ready\ngot it\n')
    expect(code).toBe(7)
    expect(left()).toEqual([])
  })

  it('ends in order where a signal comes while it starts', async () => {
    const child = background(['sleep', '40'])
    for (const stream of [child.stdout, child.stderr]) stream.resume()
    while (left().length === 0) await sleep(2)
    child.kill('SIGTERM')
    const [code] = await once(child, 'close')
    expect(code).toBe(128 + os.constants.signals.SIGTERM)
    expect(left()).toEqual([])
  })

  it('shows the mount over a path to the program, and to nobody else', () => {
    const script = `pwd; ls site; echo x > ${lower}/new; rm -r ${lower}/posts; ls ${lower}`
    const ran = start(['--over', lower, '--diff', '--', 'sh', '-c', script])
    expect(ran).toEqual({
      code: 0,
      stdout: `${dir}\nindex.html\nposts\nindex.html\nnew\n`,
      stderr: 'A /new\nD /posts\n',
    })
    expect(namesIn(lower)).toEqual(['index.html', 'posts/', 'posts/first.md', 'posts/second.md'])
  })

  it('shows other layers over a path too', () => {
    const top = path.join(dir, 'top')
    fs.mkdirSync(top)
    fs.writeFileSync(path.join(top, 'index.html'), 'top')
    const over = path.join(dir, 'over')
    fs.mkdirSync(over)
    const ran = start([
      '--lower',
      top,
      '--lower',
      lower,
      '--over',
      over,
      '--',
      'sh',
      '-c',
      `cd ${over}; cat index.html; ls`,
    ])
    expect(ran).toEqual({ code: 0, stdout: 'topindex.html\nposts\n', stderr: '' })
    expect(fs.readdirSync(over)).toEqual([])
  })

  it('shows it as the working directory where the program starts in the path', () => {
    const words = ['run', '--over', lower, '--', 'sh', '-c', 'touch new; ls; pwd']
    const ran = layerfs(words, { env: env(), cwd: path.join(lower, 'posts') })
    expect(ran).toEqual({ code: 0, stdout: `first.md\nnew\nsecond.md\n${lower}/posts\n`, stderr: '' })
    expect(namesIn(lower)).not.toContain('posts/new')
  })

  it('does that for a plain user too, who stays who it is', () => {
    const mine = scratch('run-plain', 'plain')
    try {
      const site = path.join(mine, 'site')
      run('cp', ['-r', lower, site])
      run('chown', ['-R', '--reference', mine, site])
      const script = `id -un; echo x > ${site}/new; stat -c %U ${site}/new`
      const words = [process.execPath, BIN, 'run', '--over', site, '--diff', '--', 'sh', '-c', script]
      const [file = '', ...args] = command('plain', words)
      const ran = run(file, args, { cwd: '/', env: { ...environment('plain'), TMPDIR: tmp } })
      expect(ran).toEqual({ code: 0, stdout: 'layerfs-test\nlayerfs-test\n', stderr: 'A /new\n' })
      expect(left()).toEqual([])
    } finally {
      discard(mine)
    }
  })
})
