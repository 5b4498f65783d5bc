/** Fixtures as copies on other systems, in a process that takes itself for one on macOS: it was no Mac. */
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command, environment, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Ran, run, TOP } from '../support/shell.js'
import { TESTING } from './kit.js'

const CASES = path.join(import.meta.dirname, 'portable.cases.mjs')
const PRETEND = path.join(import.meta.dirname, 'portable.pretend.mjs')
const DIST = path.join(TOP, 'dist')

let dir: string
let tmp: string
beforeEach(() => {
  dir = scratch('portable')
  tmp = path.join(dir, 'tmp')
  fs.mkdirSync(tmp)
})
afterEach(() => discard(dir))

/** Two fixture directories below `to`, the upper one with OCI whiteouts. */
function makeLayers(to: string): void {
  const files: Record<string, string> = {
    'site/index.html': '<h1>Below</h1>\n',
    'site/posts/first.md': '# First\n',
    'site/posts/second.md': '# Second\n',
    'site/docs/one': '1\n',
    'site/docs/two/three': '3\n',
    'site/gone': 'not to be seen\n',
    'site/posts/gone': 'not to be seen\n',
    'site/old/below': 'not to be seen\n',
    'site/run': '#!/bin/sh\n',
    'site/shelf/book': 'book\n',
    'site/touched': 'x',
    'site/again': 'again\n',
    'site/file': 'a file\n',
    'site/dir/in/it': 'it\n',
    'site/plain': 'plain\n',
    'site/binary': '\0\x01\x02',
    'site/under': 'a file beneath a directory\n',
    'top/index.html': '<h1>Home</h1>\n',
    'top/.wh.gone': '',
    'top/posts/.wh.gone': '',
    'top/posts/third.md': '# Third\n',
    'top/old/.wh..wh..opq': '',
    'top/old/above': 'above\n',
    'top/under/is': 'a directory\n',
  }
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(to, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, text)
    fs.utimesSync(file, 1.5e9, 1.6e9 + text.length)
  }
  fs.chmodSync(path.join(to, 'site/run'), 0o4755)
  fs.chmodSync(path.join(to, 'site/again'), 0o440)
  fs.chmodSync(path.join(to, 'site/shelf'), 0o750)
  fs.chmodSync(path.join(to, 'top'), 0o751)
  fs.chmodSync(path.join(to, 'top/posts'), 0o777)
  fs.symlinkSync('index.html', path.join(to, 'site/link'))
  fs.symlinkSync('no/where', path.join(to, 'site/dangling'))
  fs.lutimesSync(path.join(to, 'site/link'), 1.5e9, 1.6e9)
  fs.lutimesSync(path.join(to, 'site/dangling'), 1.5e9, 1.6e9)
  for (const entry of fs.readdirSync(to, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) fs.utimesSync(path.join(entry.parentPath, entry.name), 1.5e9, 1.61e9)
}

const env = (pretend: string): NodeJS.ProcessEnv => ({ ...process.env, TMPDIR: tmp, PRETEND: pretend })

/** Node as on macOS. */
const onDarwin = (...args: string[]): Promise<Ran> =>
  run([process.execPath, '--import', PRETEND, ...args], { env: env('darwin') })

const script = (body: string): string[] => [
  '--input-type=module',
  '-e',
  `import { fixture } from ${JSON.stringify(TESTING)}\n${body}`,
]

describe('fixtures on another system', () => {
  it('do on a copy all that those on Linux do on one, without native code', async () => {
    makeLayers(path.join(dir, 'darwin'))
    makeLayers(path.join(dir, 'linux'))
    const outs = ['darwin', 'linux'].map((name) => path.join(dir, `${name}.json`)) as [string, string]
    const cases = (name: string, out: string) => ['--import', PRETEND, CASES, DIST, path.join(dir, name), out]
    const elsewhere = await run([process.execPath, ...cases('darwin', outs[0])], { env: env('darwin') })
    expect(elsewhere.status, elsewhere.output).toBe(0)
    expect(elsewhere.output).toContain(
      'LayerfsWarning: fixtures are copied, as FUSE mounts need Linux: without owners, xattrs, hard links and special files',
    )
    expect(fs.readdirSync(tmp)).toEqual([])
    const here = await run(
      [
        ...['unshare', '--mount', 'sh', '-c', 'mount --bind /dev/null /dev/fuse && exec "$@"', 'sh'],
        ...[process.execPath, ...cases('linux', outs[1])],
      ],
      { env: env('linux') },
    )
    expect(here.status, here.output).toBe(0)
    const [portable, exact] = outs.map((out) => fs.readFileSync(out, 'utf8').replaceAll(dir, '')) as [
      string,
      string,
    ]
    const results = JSON.parse(portable)
    expect(results).toEqual(JSON.parse(exact.replaceAll('/linux', '/darwin')))

    expect(Object.keys(results.tree)).toEqual([
      ...['again', 'binary', 'dangling', 'dir', 'dir/in', 'dir/in/it', 'docs', 'docs/one', 'docs/two'],
      ...['docs/two/three', 'file', 'index.html', 'link', 'old', 'old/above', 'plain', 'posts'],
      ...['posts/first.md', 'posts/second.md', 'posts/third.md', 'run', 'shelf', 'shelf/book', 'touched'],
      ...['under', 'under/is'],
    ])
    expect(results.changed).toEqual([
      'C binary modified',
      'C dir type',
      'D docs deleted',
      'C file type',
      'A file/in added',
      'A gone added',
      'C index.html modified',
      'C link modified',
      'A new added',
      'A new/deep added',
      'A new/deep/file added',
      'C plain type',
      'C posts contents',
      'D posts/first.md deleted',
      'C run metadata',
      'C shelf metadata',
      'C touched metadata',
      'A ä added',
      'A \uff00 added',
      'A \u{1f600} added',
    ])
    expect(results).toMatchObject({
      kind: ['copy', true],
      fresh: [],
      restored: [[], true],
      reset: [[], [], '<h1>Home</h1>\n'],
      twice: [[], true],
      sameDirectory: true,
      committed: [],
      committedNames: true,
      matchers: [false, true],
      leftAsItWas: [],
      disposed: false,
      vitest: true,
      stale: [],
      standing: 1,
    })
  })

  it('take a copy only where one is asked for', async () => {
    makeLayers(dir)
    const lower = JSON.stringify(path.join(dir, 'site'))
    const ran = await onDarwin(
      ...script(`await fixture({ lower: ${lower} }).catch((e) => console.log(e.name, e.code, e.message))`),
    )
    expect(ran).toEqual({
      status: 0,
      output: "LayerfsError UNSUPPORTED FUSE mounts need Linux: set fallback: 'copy' to work on a copy\n",
    })
    expect(fs.readdirSync(tmp)).toEqual([])
  })

  it('refuse id maps, and tell of special files that they leave out', async () => {
    makeLayers(dir)
    const site = path.join(dir, 'site')
    await run(['mkfifo', path.join(site, 'pipe')])
    const ran = await onDarwin(
      ...script(`
        const options = { lower: ${JSON.stringify(site)}, fallback: 'copy' }
        const uidmap = [{ disk: 0, shown: 1000, count: 1 }]
        await fixture({ ...options, uidmap }).catch((e) => console.log(e.code, e.message))
        const files = await fixture(options)
        console.log(await files.diff())`),
    )
    expect(ran.status, ran.output).toBe(0)
    expect(ran.output).toContain('UNSUPPORTED id maps need Linux: leave out uidmap and gidmap')
    expect(ran.output).toContain(`special files are left out of the copy: ${path.join(site, 'pipe')}`)
    expect(ran.output).toContain('[]\n')
  })

  it('serve a plain user, whose directories may be read-only', async () => {
    const own = scratch('portable-plain', 'plain')
    makeLayers(dir)
    for (const name of ['dir/in', 'dir', '']) fs.chmodSync(path.join(dir, 'site', name), 0o555)
    for (const name of ['.', 'site/shelf']) fs.chmodSync(path.join(dir, name), 0o755)
    const body = `
      import fs from 'node:fs'
      const files = await fixture({ lower: ${JSON.stringify(path.join(dir, 'site'))}, fallback: 'copy' })
      fs.chmodSync(files.path, 0o755)
      fs.writeFileSync(files.path + '/new', '')
      const kept = await files.snapshot()
      await files.reset()
      console.log(JSON.stringify(await files.diff()))
      await files.restore(kept)
      console.log((await files.diff()).map((c) => c.path).join())
      await files.unmount()`
    fs.chmodSync(path.join(dir, 'site/again'), 0o444)
    const ran = await run(
      command('plain', [process.execPath, '--no-warnings', '--import', PRETEND, ...script(body)]),
      { cwd: '/', env: { ...environment('plain'), TMPDIR: own, PRETEND: 'darwin' } },
    )
    expect(ran).toEqual({ status: 0, output: '[]\n,new\n' })
    expect(fs.readdirSync(own)).toEqual([])
    discard(own)
  })

  it('that a killed process left are freed by the next one, and those of a living one are not', async () => {
    makeLayers(dir)
    const files = `const files = await fixture({ lower: ${JSON.stringify(path.join(dir, 'site'))}, fallback: 'copy' })\n`
    const died = await onDarwin(...script(`${files}process.kill(process.pid, 'SIGKILL')`))
    expect(died.status).toBe('SIGKILL')
    expect(fs.readdirSync(tmp)).toHaveLength(1)
    const next = await onDarwin(
      ...script(`import { freeStale } from ${JSON.stringify(TESTING)}
        import { readdirSync } from 'node:fs'
        ${files}
        console.log(await freeStale(), readdirSync(process.env.TMPDIR).length)`),
    )
    expect(next.output).toContain('[] 1\n')
    expect(next.status).toBe(0)
    expect(fs.readdirSync(tmp)).toEqual([])
  })
})

describe('what takes Linux', () => {
  it('is refused by the command and by the library in one clear line', async () => {
    const line =
      "layerfs mounts on Linux only, and this is darwin: there is layerfs/testing with fallback: 'copy'"
    const called = await onDarwin(path.join(TOP, 'bin/layerfs.js'), 'mount', '--lower', dir, dir)
    expect(called).toEqual({ status: 17, output: `layerfs: ${line}\n` })
    const library = JSON.stringify(path.join(DIST, 'index.js'))
    const imported = await onDarwin(
      ...['--input-type=module', '-e', `import(${library}).catch((e) => console.log(e.code, e.message))`],
    )
    expect(imported).toEqual({ status: 0, output: `UNSUPPORTED ${line}\n` })
  })
})
