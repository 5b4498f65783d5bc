/** Uppers frozen into layers, and several layers made one. */
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commitUpper } from '../../src/commit/commit.js'
import { squashLayers } from '../../src/commit/squash.js'
import { exportTree } from '../../src/export/export.js'
import type { WhiteoutForm } from '../../src/union/layer.js'
import { Bench, exitOf, hardlink, inode, layerfs, symlink, whiteout } from '../export/kit.js'
import { mountOverlay, umount } from '../support/mounts.js'
import { getxattr, setxattr, statx, utimens } from '../support/sys.js'
import { compareTrees } from '../support/tree.js'

let bench: Bench
beforeEach(() => {
  bench = new Bench('commit')
})
afterEach(() => bench[Symbol.dispose]())

const spec = (...dirs: string[]) => dirs.map((dir) => ({ path: dir }))
const list = (dir: string): string[] => (fs.readdirSync(dir, { recursive: true }) as string[]).sort()
const isWhiteout = (file: string): boolean => {
  const attr = statx(file)
  return (attr.mode & 0o170000) === 0o020000 && attr.rdev === 0
}

/** What two stacks show, compared. Copies, so that marks of the layers' own stay out of it. */
async function expectSame(one: string[], other: string[]): Promise<void> {
  for (const [name, stack] of [
    ['shown-one', one],
    ['shown-other', other],
  ] as const) {
    fs.rmSync(bench.at(name), { recursive: true, force: true })
    await exportTree(spec(...stack), bench.at(name), { link: 'copy' })
  }
  expect(compareTrees(bench.at('shown-one'), bench.at('shown-other'))).toEqual([])
}

describe('a committed upper', () => {
  it('is a layer that shows the same and does not change with the upper', async () => {
    const base = bench.make('base', { dir: { a: 'a', gone: 'g' }, moved: { in: 'i' }, old: 'o', big: 'data' })
    const upper = bench.make('upper', {})
    const mnt = bench.make('mnt', {})
    bench.make('work', {})
    mountOverlay({ lower: [base], upper, work: bench.at('work'), mountpoint: mnt }, [
      'redirect_dir=on',
      'metacopy=on',
    ])
    fs.writeFileSync(`${mnt}/dir/a`, 'new')
    fs.rmSync(`${mnt}/dir/gone`)
    fs.renameSync(`${mnt}/moved`, `${mnt}/here`)
    fs.rmSync(`${mnt}/old`)
    fs.mkdirSync(`${mnt}/old`)
    fs.chmodSync(`${mnt}/big`, 0o600)
    fs.writeFileSync(`${mnt}/one`, 'x')
    fs.linkSync(`${mnt}/one`, `${mnt}/two`)
    umount(mnt)
    const layer = bench.at('layer')
    await commitUpper(upper, layer)
    await expectSame([upper, base], [layer, base])
    expect(inode(`${layer}/one`)).toBe(inode(`${layer}/two`))
    expect(inode(`${layer}/one`)).not.toBe(inode(`${upper}/one`))
    // The kernel takes it for a lower as well.
    mountOverlay({ lower: [layer, base], mountpoint: mnt }, ['redirect_dir=on', 'metacopy=on'])
    expect(list(mnt)).toEqual(['big', 'dir', 'dir/a', 'here', 'here/in', 'old', 'one', 'two'])
    expect(fs.readFileSync(`${mnt}/big`, 'utf8')).toBe('data')
    umount(mnt)
  })

  it('given the lowers leaves out what changes nothing', async () => {
    const base = bench.make('base', {
      same: 's',
      changed: 'c',
      times: 't',
      l: symlink('x'),
      dir: { same: 's' },
      kept: { same: 's', other: 'o' },
    })
    const upper = bench.make('upper', {
      same: 's',
      changed: 'd',
      times: 't',
      l: symlink('x'),
      dir: { same: 's' },
      kept: { same: 's', new: 'n' },
      nothing: whiteout,
      opaque: {},
      twice: 'x',
      again: hardlink('twice'),
    })
    for (const layer of [base, upper])
      for (const name of ['same', 'changed', 'l', 'dir/same', 'kept/same', 'dir', 'kept'])
        utimens(`${layer}/${name}`, 1e9, 0, 1e9, 0)
    utimens(`${upper}/times`, 1e9, 0, 1e9, 7)
    const done = await commitUpper(upper, bench.at('layer'), { lower: spec(base) })
    expect(list(bench.at('layer'))).toEqual([
      'again',
      'changed',
      'kept',
      'kept/new',
      'opaque',
      'times',
      'twice',
    ])
    expect(done).toMatchObject({ dropped: 6, files: 5, directories: 3 })
    await expectSame([upper, base], [bench.at('layer'), base])
  })

  it('may not be mounted meanwhile', () => {
    const base = bench.make('base', { a: 'a' })
    const upper = bench.make('upper', {})
    bench.make('work', {})
    const mounted = layerfs([
      ...['mount', '--lower', base, '--upper', upper],
      ...['--work', bench.at('work'), bench.make('mnt', {})],
    ])
    expect(mounted.code, mounted.err).toBe(0)
    try {
      expect(layerfs(['commit', upper, bench.at('layer')]).code).toBe(exitOf('UPPER_IN_USE'))
      expect(fs.existsSync(bench.at('layer'))).toBe(false)
    } finally {
      expect(layerfs(['umount', bench.at('mnt')]).code).toBe(0)
    }
    const ran = layerfs(['commit', upper, bench.at('layer'), '--json'])
    expect(ran.code, ran.err).toBe(0)
    expect(JSON.parse(ran.out)).toMatchObject({ files: 0, directories: 1 })
  })
})

describe('squashed layers', () => {
  const makeLayers = (): { base: string; layers: string[] } => {
    const base = bench.make('base', {
      gone: 'x',
      back: 'base',
      covered: 'x',
      dir: { old: 'o', both: 'b' },
      replaced: { by: 'file' },
      filed: 'file',
      late: { under: 'u' },
      plain: { stays: 's' },
    })
    const low = bench.make('low', {
      gone: whiteout,
      back: whiteout,
      replaced: whiteout,
      filed: whiteout,
      dir: { low: 'l', both: 'low' },
      late: { low: 'l' },
      plain: { low: 'l', hidden: 'h' },
      only: 'x',
    })
    const top = bench.make('top', {
      back: 'again',
      covered: 'top',
      replaced: 'a file now',
      filed: { now: 'a directory' },
      dir: { top: 't' },
      late: { top: 't' },
      plain: { hidden: whiteout },
      only: whiteout,
    })
    setxattr(`${low}/dir`, 'trusted.overlay.opaque', 'y')
    setxattr(`${top}/late`, 'trusted.overlay.opaque', 'y')
    setxattr(`${top}/plain`, 'user.note', 'kept')
    return { base, layers: [top, low] }
  }

  it.each<[WhiteoutForm]>([['overlay'], ['oci']])(
    'do the same together, in the form %s',
    async (whiteouts) => {
      const { base, layers } = makeLayers()
      const done = await squashLayers(spec(...layers), bench.at('one'), { whiteouts })
      await expectSame([...layers, base], [bench.at('one'), base])
      // `dir` and `late` are cut off, and `filed` was a file that a whiteout hid.
      expect(done).toMatchObject({ opaque: 3, whiteouts: 3 })
      expect(inode(bench.at('one/covered'))).toBe(inode(`${layers[0]}/covered`))
    },
  )

  it('hide nothing twice, and know the kernel', async () => {
    const { base, layers } = makeLayers()
    await squashLayers(spec(...layers), bench.at('one'))
    expect(isWhiteout(bench.at('one/gone'))).toBe(true)
    expect(getxattr(bench.at('one/dir'), 'trusted.overlay.opaque').toString()).toBe('y')
    const mnt = bench.make('mnt', {})
    mountOverlay({ lower: [...layers, base], mountpoint: mnt })
    const expected = list(mnt)
    umount(mnt)
    mountOverlay({ lower: [bench.at('one'), base], mountpoint: mnt })
    expect(list(mnt)).toEqual(expected)
    umount(mnt)
  })

  it('with a redirect are refused, for its target may lie beneath', () => {
    const { layers } = makeLayers()
    setxattr(`${layers[0]}/dir`, 'trusted.overlay.redirect', '/elsewhere')
    const ran = layerfs(['squash', ...layers, bench.at('one')])
    expect(ran).toMatchObject({ code: exitOf('UNSUPPORTED'), err: expect.stringContaining('/dir') })
    expect(fs.existsSync(bench.at('one'))).toBe(false)
  })

  it('by the command', () => {
    const { layers } = makeLayers()
    const ran = layerfs(['squash', ...layers, bench.at('one')])
    expect(ran.code, ran.err).toBe(0)
    expect(ran.out).toMatch(/one: 5 directories, \d+ files \(\d+ linked\), 3 whiteouts, 3 opaque/)
    expect(layerfs(['squash', bench.at('two')]).code).toBe(exitOf('USAGE'))
  })
})
