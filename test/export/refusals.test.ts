/** Where a hard link cannot be: what is done instead, what is told, what a dry run foresees. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ExportOptions, exportTree } from '../../src/export/export.js'
import type { LinkMode } from '../../src/export/place.js'
import { closeLayers, openLayers, sourceOf } from '../../src/export/source.js'
import { walk } from '../../src/export/walk.js'
import { plainUser, scratch } from '../support/identity.js'
import { type Stage, stage } from '../support/stage.js'
import { statx } from '../support/sys.js'
import { Bench, exitOf, hardlink, inode, layerfs, layerfsAs, MANY_FILES_MS, start, symlink } from './kit.js'

let bench: Bench
beforeEach(() => {
  bench = new Bench('refusals')
})
afterEach(() => bench[Symbol.dispose]())

const spec = (...dirs: string[]) => dirs.map((dir) => ({ path: dir }))

/** Exports, after a dry run whose figures have to be the same. */
async function foreseen(layer: string, out: string, options: ExportOptions = {}) {
  const names = fs.readdirSync(path.dirname(out))
  const plan = await exportTree(spec(layer), out, { ...options, dryRun: true })
  expect(fs.readdirSync(path.dirname(out))).toEqual(names)
  const done = await exportTree(spec(layer), out, options)
  expect({ ...done, cloned: 0, copied: done.cloned + done.copied, bytes: plan.bytes, seconds: 0 }).toEqual({
    ...plan,
    seconds: 0,
  })
  return done
}

describe('between filesystems', () => {
  beforeEach(() => {
    bench.make('other', {})
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', bench.at('other')])
    bench.make('base', { a: 'content', b: hardlink('a'), dir: { l: symlink('../a') } })
  })

  it('copies, counts why, and keeps the links among the copies', async () => {
    const done = await foreseen(bench.at('base'), bench.at('other/out'))
    expect(done).toMatchObject({ linked: 0, made: 2, refusals: { EXDEV: 3 } })
    expect(done.copied + done.cloned).toBe(1)
    expect(inode(bench.at('other/out/a'))).toBe(inode(bench.at('other/out/b')))
    expect(fs.readFileSync(bench.at('other/out/a'), 'utf8')).toBe('content')
  })

  it('knows a bind mount of the same filesystem, which links do not cross either', async () => {
    bench.make('bound', {})
    execFileSync('mount', ['--bind', bench.at('base'), bench.at('bound')])
    const done = await foreseen(bench.at('bound'), bench.at('out'))
    expect(done).toMatchObject({ linked: 0, refusals: { EXDEV: 3 } })
  })

  it('with --link=only is an error that names the files, and leaves nothing', () => {
    const ran = layerfs(['export', '--lower', bench.at('base'), '--link=only', bench.at('other/out')])
    expect(ran.code).toBe(exitOf('LINK_REFUSED'))
    expect(ran.err).toContain('3 files cannot be linked')
    expect(ran.err).toContain('/dir/l (EXDEV)')
    expect(fs.readdirSync(bench.at('other'))).toEqual([])
  })
})

it.each<[LinkMode]>([['clone'], ['copy']])('--link=%s makes files of their own', async (link) => {
  const base = bench.make('base', { a: 'one', b: hardlink('a') })
  await exportTree(spec(base), bench.at('out'), { link })
  fs.writeFileSync(bench.at('out/a'), 'edited')
  expect(fs.readFileSync(`${base}/a`, 'utf8')).toBe('one')
  expect(statx(`${base}/a`).nlink).toBe(2)
})

it('copies a file that has as many links as its filesystem allows', { timeout: MANY_FILES_MS }, async () => {
  const base = bench.make('base', { few: 'f', full: 'content' })
  bench.make('links', {})
  // ext4 allows 65,000; other filesystems have no limit that a test can reach.
  let limited = false
  for (let i = 1; i < 65_000 && !limited; i++) {
    try {
      fs.linkSync(`${base}/full`, bench.at('links', `${i}`))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EMLINK')) throw error
      limited = true
    }
  }
  if (!limited) {
    try {
      fs.linkSync(`${base}/full`, bench.at('links', 'last'))
      fs.rmSync(bench.at('links', 'last'))
    } catch {
      limited = true
    }
  }
  const done = await foreseen(base, bench.at('out'))
  expect(done.refusals).toEqual(limited ? { EMLINK: 1 } : {})
  expect(fs.readFileSync(bench.at('out/full'), 'utf8')).toBe('content')
})

describe('for a plain user', () => {
  let staged: Stage
  let home: string
  beforeAll(() => {
    staged = stage()
    home = scratch('plain-export', 'plain')
  })
  afterAll(() => {
    staged.remove()
    fs.rmSync(home, { recursive: true, force: true })
  })

  it('copies what fs.protected_hardlinks protects, and says whose the copies are', () => {
    const { uid } = plainUser()
    const base = path.join(home, 'base')
    fs.mkdirSync(base)
    fs.writeFileSync(`${base}/theirs`, 'root wrote this')
    fs.chmodSync(`${base}/theirs`, 0o4755)
    fs.writeFileSync(`${base}/own`, 'mine')
    fs.chownSync(`${base}/own`, uid, uid)
    fs.chownSync(base, uid, uid)
    const run = (...args: string[]) =>
      layerfsAs('plain', staged.node, path.join(staged.dir, 'bin/layerfs.js'), ['export', ...args])
    const isProtected = fs.readFileSync('/proc/sys/fs/protected_hardlinks', 'utf8').trim() !== '0'
    const refusals = isProtected ? { EPERM: 1 } : {}
    const dry = run('--lower', base, '--dry-run', '--json', `${home}/out`)
    expect(JSON.parse(dry.out)).toMatchObject({ linked: isProtected ? 1 : 2, refusals })
    const ran = run('--lower', base, '--json', `${home}/out`)
    expect(ran.code, ran.err).toBe(0)
    expect(JSON.parse(ran.out)).toMatchObject({ linked: isProtected ? 1 : 2, refusals })
    expect(inode(`${home}/out/own`)).toBe(inode(`${base}/own`))
    expect(fs.readFileSync(`${home}/out/theirs`, 'utf8')).toBe('root wrote this')
    if (isProtected) {
      // A program that was root's and set-user-id must not become the user's and set-user-id.
      expect(statx(`${home}/out/theirs`)).toMatchObject({ uid, mode: 0o100755 })
      expect(ran.err).toContain('belong to you instead of their owner')
    }
  })
})

describe('a hostile layer', () => {
  it('with a symlink where a lower has a directory shows the symlink and leads nowhere', async () => {
    const secret = bench.make('secret', { shadow: 'secret' })
    const base = bench.make('base', { etc: { passwd: 'p' }, var: { log: 'l' } })
    const middle = bench.make('middle', { var: symlink(secret) })
    const top = bench.make('top', { etc: symlink(secret), var: { run: 'r' } })
    const out = bench.at('out')
    await exportTree(spec(top, middle, base), out)
    expect(fs.readlinkSync(`${out}/etc`)).toBe(secret)
    expect(fs.readdirSync(`${out}/var`)).toEqual(['run'])
    expect(fs.readdirSync(secret)).toEqual(['shadow'])
  })

  it('that swaps a directory for a symlink meanwhile is an error that names the path', () => {
    const secret = bench.make('secret', { shadow: 'secret' })
    const base = bench.make('base', { dir: { file: 'x' } })
    const layers = openLayers(spec(base))
    try {
      const steps = walk(sourceOf(layers))
      expect(steps.next().value).toMatchObject({ kind: 'enter', dir: { path: '' } })
      fs.renameSync(`${base}/dir`, `${base}/was`)
      fs.symlinkSync(secret, `${base}/dir`)
      expect(() => steps.next()).toThrow(/\/dir was changed while it was read/)
    } finally {
      closeLayers(layers)
    }
  })
})

describe('an export that is given up', () => {
  it('leaves nothing', { timeout: MANY_FILES_MS }, async () => {
    const base = bench.make('base', { many: {} })
    for (let i = 0; i < 10_000; i++) fs.writeFileSync(`${base}/many/${i}`, '')
    const controller = new AbortController()
    let seen: string[] = []
    const onProgress = (): void => {
      seen = bench.names
      controller.abort(new Error('enough'))
    }
    const work = exportTree(spec(base), bench.at('out'), {
      link: 'copy',
      signal: controller.signal,
      onProgress,
    })
    await expect(work).rejects.toThrow('enough')
    expect(seen.filter((name) => name.startsWith('.out.layerfs-'))).toHaveLength(1)
    expect(bench.names).toEqual(['base'])
  })

  it.each([['copy'], ['auto']])(
    'by Ctrl-C with --link=%s leaves nothing and exits with a code of its own',
    { timeout: MANY_FILES_MS },
    async (link) => {
      const base = bench.make('base', { 1: {}, 2: {}, 3: {} })
      for (const dir of [1, 2, 3]) for (let i = 0; i < 4000; i++) fs.writeFileSync(`${base}/${dir}/${i}`, '')
      const begun = (): boolean => bench.names.some((name) => name.startsWith('.out.layerfs-'))
      // On a machine with much else to do it may be over before the signal is sent: then once more.
      for (let attempt = 0; attempt < 20; attempt++) {
        const child = start(['export', '--lower', base, `--link=${link}`, bench.at('out')])
        const exited = new Promise<number | null>((resolve) => child.on('exit', resolve))
        let over = false
        void exited.then(() => {
          over = true
        })
        while (!over && !begun()) await new Promise((resume) => setTimeout(resume, 1))
        child.kill('SIGINT')
        const code = await exited
        if (code === 0) {
          fs.rmSync(bench.at('out'), { recursive: true })
          continue
        }
        expect(code).toBe(exitOf('INTERRUPTED'))
        expect(bench.names).toEqual(['base'])
        return
      }
      throw new Error('no export was interrupted')
    },
  )
})
