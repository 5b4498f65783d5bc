/** Layers brought from one form of whiteouts into the other. */
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Converter, convertLayer } from '../../src/commit/convert.js'
import { exportTree } from '../../src/export/export.js'
import { closeLayers, openLayers } from '../../src/export/source.js'
import type { Layer, WhiteoutForm } from '../../src/union/layer.js'
import { Bench, exitOf, inode, layerfs, whiteout } from '../export/kit.js'
import { getxattr, listxattr, setxattr, statx, utimens } from '../support/sys.js'
import { compareTrees } from '../support/tree.js'

let bench: Bench
beforeEach(() => {
  bench = new Bench('convert')
})
afterEach(() => bench[Symbol.dispose]())

const FORM = 'trusted.overlay.layerfs.whiteouts'
const spec = (...dirs: string[]) => dirs.map((dir) => ({ path: dir }))
const list = (dir: string): string[] => (fs.readdirSync(dir, { recursive: true }) as string[]).sort()

const makeBase = (): string =>
  bench.make('base', {
    gone: 'x',
    xattr: { hidden: 'h', stays: 's' },
    dir: { old: 'o' },
    deep: { er: { gone: 'g', stays: 's' } },
    file: { in: 'the way' },
    tree: { old: 'o' },
  })

/** The same layer in either form. */
function makeLayer(form: WhiteoutForm): string {
  if (form === 'oci')
    return bench.make('layer', {
      '.wh.gone': '',
      xattr: { '.wh.hidden': '' },
      dir: { '.wh..wh..opq': '', new: 'n' },
      deep: { er: { '.wh.gone': '' } },
      '.wh.file': '',
      file: 'a file now',
      '.wh.tree': '',
      tree: { new: 'n' },
    })
  const layer = bench.make('layer', {
    gone: whiteout,
    xattr: { hidden: '' },
    dir: { new: 'n' },
    deep: { er: { gone: whiteout } },
    file: 'a file now',
    tree: { new: 'n' },
  })
  setxattr(`${layer}/xattr`, 'trusted.overlay.opaque', 'x')
  setxattr(`${layer}/xattr/hidden`, 'trusted.overlay.whiteout', '')
  setxattr(`${layer}/dir`, 'user.fuseoverlayfs.opaque', 'y')
  setxattr(`${layer}/tree`, 'trusted.overlay.opaque', 'y')
  return layer
}

/** What the layer shows over the base, as a tree of its own. */
async function show(name: string, layer: string, base: string): Promise<string> {
  fs.rmSync(bench.at(name), { recursive: true, force: true })
  await exportTree(spec(layer, base), bench.at(name), { link: 'copy' })
  return bench.at(name)
}

const BOTH: [WhiteoutForm, WhiteoutForm][] = [
  ['overlay', 'oci'],
  ['oci', 'overlay'],
]

describe.each(BOTH)('from %s to %s', (from, to) => {
  it('in place shows the same, and has marks of the one form only', async () => {
    const base = makeBase()
    const layer = makeLayer(from)
    for (const name of ['dir', 'deep/er', 'deep', '.']) utimens(`${layer}/${name}`, 1e9, 5, 1e9, 5)
    const before = await show('before', layer, base)
    await convertLayer(layer, { whiteouts: to })
    expect(compareTrees(before, await show('after', layer, base))).toEqual([])
    expect(getxattr(layer, FORM).toString()).toBe(to)
    expect(list(layer).some((name) => name.includes('.wh.'))).toBe(to === 'oci')
    const devices = list(layer).filter((name) => (statx(`${layer}/${name}`).mode & 0o170000) === 0o020000)
    expect(devices.length > 0).toBe(to === 'overlay')
    if (to === 'oci') expect(listxattr(`${layer}/dir`)).toEqual([])
  })

  it('into a copy leaves the layer as it is and shares its files', async () => {
    const base = makeBase()
    const layer = makeLayer(from)
    const names = list(layer)
    const before = await show('before', layer, base)
    await convertLayer(layer, { whiteouts: to, out: bench.at('copy') })
    expect(compareTrees(before, await show('after', bench.at('copy'), base))).toEqual([])
    expect(list(layer)).toEqual(names)
    expect(inode(bench.at('copy/dir/new'))).toBe(inode(`${layer}/dir/new`))
    expect(getxattr(bench.at('copy'), FORM).toString()).toBe(to)
  })

  it('shows the same wherever it is interrupted, and is finished by another run', async () => {
    const base = makeBase()
    let finished = false
    for (let stop = 0; !finished; stop++) {
      fs.rmSync(bench.at('layer'), { recursive: true, force: true })
      const layer = makeLayer(from)
      const before = await show('before', layer, base)
      const layers = openLayers(spec(layer))
      const fd = fs.openSync(layer, 'r')
      const steps = new Converter(layers[0] as Layer, to).inPlace(fd)
      for (let i = 0; i < stop && !finished; i++) finished = steps.next().done === true
      fs.closeSync(fd)
      closeLayers(layers)
      expect(compareTrees(before, await show('between', layer, base)), `after ${stop} steps`).toEqual([])
      await convertLayer(layer, { whiteouts: to })
      expect(compareTrees(before, await show('after', layer, base)), `after ${stop} steps`).toEqual([])
      expect(list(layer).some((name) => name.includes('.wh.'))).toBe(to === 'oci')
    }
  })

  it('and back again is the layer that it was', async () => {
    const layer = makeLayer(from)
    await convertLayer(layer, { whiteouts: to })
    await convertLayer(layer, { whiteouts: from })
    await convertLayer(layer, { whiteouts: to })
    const names = list(layer)
    await convertLayer(layer, { whiteouts: to })
    expect(list(layer)).toEqual(names)
  })
})

it('a layer with files that are named like whiteouts is refused before anything is changed', () => {
  const layer = bench.make('layer', { gone: whiteout, dir: { '.wh.real': 'a file' } })
  setxattr(layer, FORM, 'overlay')
  const ran = layerfs(['convert', layer, '--whiteouts=oci'])
  expect(ran).toMatchObject({ code: exitOf('UNSUPPORTED'), err: expect.stringContaining('/dir/.wh.real') })
  expect(list(layer)).toEqual(['dir', 'dir/.wh.real', 'gone'])
  expect(getxattr(layer, FORM).toString()).toBe('overlay')
})

it('the command says what it did', () => {
  const layer = makeLayer('oci')
  const ran = layerfs(['convert', layer, '--whiteouts=overlay'])
  expect(ran.code, ran.err).toBe(0)
  expect(ran.out).toMatch(/: 5 whiteouts, 2 opaque directories \(/)
})
