/** The commands `export` and `verify`. */
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { statx, utimens } from '../support/sys.js'
import { Bench, exitOf, inode, layerfs, MANY_FILES_MS, symlink } from './kit.js'

let bench: Bench
let base: string
let top: string
beforeEach(() => {
  bench = new Bench('export-command')
  base = bench.make('base', { etc: { motd: 'base', passwd: 'root' }, l: symlink('nowhere') })
  top = bench.make('top', { etc: { motd: 'top' } })
})
afterEach(() => bench[Symbol.dispose]())

const exportIt = (...args: string[]) =>
  layerfs(['export', '--lower', top, '--lower', base, ...args, bench.at('out')])

describe('layerfs export', () => {
  it('says in a line what it did, and warns of links', () => {
    const ran = exportIt()
    expect(ran.code, ran.err).toBe(0)
    expect(ran.out).toMatch(/out: 2 directories, 3 files: 3 linked \(/)
    expect(ran.err).toMatch(/^layerfs: writing to a linked file changes its layer:.*\n$/)
  })

  it('shows no progress where nobody watches', () => {
    expect(exportIt('--json').out).toMatch(/^\{[\s\S]*\}\n$/)
  })

  it('refuses a place that is taken, and one within a layer', () => {
    bench.make('out', { file: 'x' })
    expect(exportIt()).toMatchObject({ code: exitOf('ALREADY_EXISTS') })
    expect(exportIt('--into')).toMatchObject({ code: exitOf('ALREADY_EXISTS') })
    expect(fs.readdirSync(bench.at('out'))).toEqual(['file'])
    expect(layerfs(['export', '--lower', base, `${base}/etc/out`]).code).toBe(exitOf('USAGE'))
    expect(layerfs(['export', '--lower', base, bench.at('no/such/out')]).code).toBe(
      exitOf('NO_SUCH_DIRECTORY'),
    )
    expect(bench.names).toEqual(['base', 'out', 'top'])
  })

  it('replaces an empty directory with --into', () => {
    bench.make('out', {})
    expect(exportIt('--into').code).toBe(0)
    expect(fs.readFileSync(bench.at('out/etc/motd'), 'utf8')).toBe('top')
  })

  it('takes write permission away with --protect', () => {
    expect(exportIt('--protect', '--verify').code).toBe(0)
    expect(statx(bench.at('out/etc/motd')).mode & 0o777).toBe(0o444)
    expect(fs.statSync(bench.at('out/etc')).mode & 0o777).toBe(0o755)
  })

  it('reads an upper above the lowers', () => {
    const upper = bench.make('upper', { etc: { motd: 'upper' } })
    const ran = layerfs(['export', '--upper', upper, '--lower', top, '--lower', base, bench.at('out')])
    expect(ran.code, ran.err).toBe(0)
    expect(inode(bench.at('out/etc/motd'))).toBe(inode(`${upper}/etc/motd`))
  })

  it('of a large tree, by several threads, is as exact as that of a small one', {
    timeout: MANY_FILES_MS,
  }, () => {
    const large = bench.make('large', {})
    for (let d = 0; d < 150; d++) {
      fs.mkdirSync(`${large}/dir${d}/below`, { recursive: true })
      for (let f = 0; f < 100; f++) fs.writeFileSync(`${large}/dir${d}/file${f}`, '')
      fs.symlinkSync('file1', `${large}/dir${d}/below/link`)
      fs.chmodSync(`${large}/dir${d}`, 0o500 + (d % 8))
      utimens(`${large}/dir${d}`, 1e9 + d, d, 1e9 + d, d)
    }
    utimens(large, 1e9, 0, 1e9, 0)
    const ran = layerfs(['export', '--lower', large, bench.at('out'), '--verify', '--json'])
    expect(ran.code, ran.err).toBe(0)
    expect(JSON.parse(ran.out)).toMatchObject({
      linked: 15_150,
      directories: 301,
      refusals: {},
      differences: [],
    })
    expect(statx(bench.at('out/dir7'))).toMatchObject({ mode: 0o040507, mtime: 1e9 + 7, mtimeNs: 7 })
    expect(inode(bench.at('out/dir149/file99'))).toBe(inode(`${large}/dir149/file99`))
  })

  it('takes the stack of a mount, what is written there included', () => {
    bench.make('mnt', {})
    const mounted = layerfs(['mount', '--lower', `${base},uidmap=0:1000:1`, '--ephemeral', bench.at('mnt')])
    expect(mounted.code, mounted.err).toBe(0)
    try {
      fs.writeFileSync(bench.at('mnt/new'), 'written')
      fs.rmSync(bench.at('mnt/etc/passwd'))
      const ran = layerfs(['export', bench.at('mnt'), bench.at('out'), '--verify'])
      expect(ran.code, ran.err).toBe(0)
      expect(fs.readdirSync(bench.at('out'), { recursive: true }).sort()).toEqual([
        'etc',
        'etc/motd',
        'l',
        'new',
      ])
      expect(statx(bench.at('out/etc/motd')).uid).toBe(1000)
      expect(fs.readFileSync(bench.at('out/new'), 'utf8')).toBe('written')
    } finally {
      expect(layerfs(['umount', bench.at('mnt')]).code).toBe(0)
    }
  })

  it('says what is missing', () => {
    expect(layerfs(['export', bench.at('out')])).toMatchObject({
      code: exitOf('USAGE'),
      err: expect.stringContaining('--lower DIR'),
    })
    expect(layerfs(['export', base, bench.at('out')]).code).toBe(exitOf('NOT_A_MOUNT'))
  })
})

describe('a manifest', () => {
  it('tells what each file is and which layer provides it', () => {
    expect(exportIt('--manifest', bench.at('list')).code).toBe(0)
    const lines = fs
      .readFileSync(bench.at('list'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines[0]).toEqual({ path: '.', type: 'dir', mode: '0755', uid: 0, gid: 0, layer: top })
    expect(lines.find((line) => line.path === 'etc/motd')).toEqual({
      path: 'etc/motd',
      type: 'file',
      mode: '0644',
      uid: 0,
      gid: 0,
      size: 3,
      hash: expect.stringMatching(/^xxh64:[0-9a-f]{16}$/),
      layer: top,
    })
    expect(lines.find((line) => line.path === 'l')).toMatchObject({
      type: 'symlink',
      target: 'nowhere',
      layer: base,
    })
  })

  it('is what verify checks a directory against', () => {
    fs.writeFileSync(Buffer.concat([Buffer.from(`${base}/`), Buffer.from([0xff, 0x0a])]), 'bytes')
    expect(exportIt('--manifest', bench.at('list'), '--link=copy').code).toBe(0)
    const verify = (...args: string[]) => layerfs(['verify', bench.at('list'), bench.at('out'), ...args])
    expect(verify()).toMatchObject({ code: 0, out: expect.stringContaining('as they should be') })
    fs.writeFileSync(bench.at('out/etc/motd'), 'TOP')
    fs.chmodSync(bench.at('out/etc/passwd'), 0o600)
    fs.chownSync(bench.at('out/etc'), 3, 0)
    fs.rmSync(bench.at('out/l'))
    fs.writeFileSync(bench.at('out/extra'), '')
    const ran = verify('--json')
    expect(ran.code).toBe(1)
    const { differences } = JSON.parse(ran.out) as { differences: { path: string; what: string }[] }
    expect(differences.map(({ path, what }) => `${path} ${what}`).sort()).toEqual([
      '/etc uid',
      '/etc/motd hash',
      '/etc/passwd mode',
      '/extra extra',
      '/l missing',
    ])
  })

  it('that is none is refused', () => {
    fs.writeFileSync(bench.at('list'), 'not JSON\n')
    expect(layerfs(['verify', bench.at('list'), base]).code).toBe(exitOf('CORRUPT'))
    expect(layerfs(['verify', bench.at('none'), base]).code).toBe(exitOf('NOT_FOUND'))
  })
})
