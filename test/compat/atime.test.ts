/** Which access times reading moves, as the kernel's overlayfs has it. */
import fs from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Client } from '../union/client.js'
import { Bench, label, type System } from './mount.js'

let bench: Bench
afterEach(() => bench.remove())

const LONG_AGO = 1e9
/** An access time before the last change is moved by any read that may move it. */
const age = (file: string): void => fs.utimesSync(file, LONG_AGO, LONG_AGO + 1)
const FILES = ['lower/below', 'lower/dir/below', 'upper/above', 'upper/dir/above']

function fill(): void {
  for (const layer of ['lower', 'upper']) fs.mkdirSync(bench.at(layer, 'dir'))
  for (const file of FILES) {
    fs.writeFileSync(bench.at(file), file)
    age(bench.at(file))
  }
}

const readAll = (mnt: string): void => {
  for (const file of FILES) fs.readFileSync(`${mnt}/${file.slice(file.indexOf('/') + 1)}`)
}

const moved = (): string[] => FILES.filter((file) => fs.statSync(bench.at(file)).atimeMs !== LONG_AGO * 1000)

/** Whether the filesystem of the layers moves access times at all. */
function movesAtime(): boolean {
  const file = bench.at('probe')
  fs.writeFileSync(file, 'x')
  age(file)
  fs.readFileSync(file)
  return fs.statSync(file).atimeMs !== LONG_AGO * 1000
}

const SYSTEMS: System['name'][] = ['overlay', 'layerfs']

describe('reading moves the access times', () => {
  for (const name of SYSTEMS) {
    it(`of files of the upper, as its own mount has them: ${name}`, () => {
      bench = new Bench()
      fill()
      bench.under({ name }, readAll)
      expect(moved()).toEqual(movesAtime() ? ['upper/above', 'upper/dir/above'] : [])
    })
    for (const option of ['noatime', 'ro']) {
      const system = { name, options: [option] }
      it(`of none: ${label(system)}`, () => {
        bench = new Bench()
        fill()
        bench.under(system, readAll)
        expect(moved()).toEqual([])
      })
    }
  }

  it('of none with noatime, and renames and links work', () => {
    bench = new Bench()
    fill()
    const c = new Client({
      lower: [bench.at('lower')],
      upper: bench.at('upper'),
      work: bench.at('work'),
      kernelOptions: ['noatime'],
    })
    c.walk(() => {})
    for (const file of FILES) c.read(file.slice(file.indexOf('/') + 1))
    expect(moved()).toEqual([])
    c.append('below', '!')
    c.rename('below', 'dir/moved')
    c.link('dir/moved', 'linked')
    c.linkNode(c.tmpfile('dir').node, 'dir/made')
    c.close()
    expect(fs.readdirSync(bench.at('upper')).sort()).toEqual(['above', 'below', 'dir', 'linked'])
  })
})
