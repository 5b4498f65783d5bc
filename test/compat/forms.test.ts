import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { S_IFCHR } from '../../src/abi/linux.js'
import { EngineDriver } from '../property/driver.js'
import { mknod, setxattr } from '../support/sys.js'
import { differences, snapshot } from '../support/tree.js'
import { Client } from '../union/client.js'
import { plant } from '../union/stacks.js'
import { Bench, type System } from './mount.js'

let bench: Bench
afterEach(() => bench.remove())

const overlay: System = { name: 'overlay', options: ['redirect_dir=on', 'metacopy=on'] }
const fuseOverlayfs: System = { name: 'fuse-overlayfs' }

const xattrWhiteout = (dir: string, name: string): void => {
  fs.writeFileSync(path.join(dir, name), '')
  setxattr(path.join(dir, name), 'trusted.overlay.whiteout', 'y')
  setxattr(dir, 'trusted.overlay.opaque', 'x')
}
const ociWhiteout = (dir: string, name: string): void => fs.writeFileSync(path.join(dir, `.wh.${name}`), '')
const device = (dir: string, name: string): void => mknod(path.join(dir, name), S_IFCHR, 0)
const opaque =
  (xattr: string) =>
  (dir: string): void =>
    setxattr(dir, xattr, 'y')

/** Marks of each system, in the topmost of three layers. */
const CASES: [string, System, (dir: string, name: string) => void, (dir: string) => void][] = [
  ['devices and trusted.overlay.opaque', overlay, device, opaque('trusted.overlay.opaque')],
  ['xattr whiteouts', overlay, xattrWhiteout, opaque('trusted.overlay.opaque')],
  [
    'devices and .wh..wh..opq',
    fuseOverlayfs,
    device,
    (dir) => fs.writeFileSync(path.join(dir, '.wh..wh..opq'), ''),
  ],
  [
    '.wh. files and .wh..wh..opq',
    fuseOverlayfs,
    ociWhiteout,
    (dir) => fs.writeFileSync(path.join(dir, '.wh..wh..opq'), ''),
  ],
  [
    '.wh. files and user.fuseoverlayfs.opaque',
    fuseOverlayfs,
    ociWhiteout,
    opaque('user.fuseoverlayfs.opaque'),
  ],
  ['.wh. files and trusted.overlay.opaque', fuseOverlayfs, ociWhiteout, opaque('trusted.overlay.opaque')],
]

describe('layers marked by others', () => {
  for (const [what, system, hide, cut] of CASES)
    it(`show what ${system.name} shows: ${what}`, () => {
      bench = new Bench()
      bench.lower = ['top', 'middle', 'bottom'].map((name) => bench.at(name))
      const [top, middle, bottom] = bench.lower as [string, string, string]
      const tree = {
        a: 'a',
        b: 'b',
        d: { a: 'a', b: 'b', e: { x: 'x' } },
        o: { old: 'o', deep: { x: 'x' } },
        gone: { x: 'x' },
      }
      for (const dir of bench.lower) fs.mkdirSync(dir)
      plant(bottom, tree)
      plant(middle, { ...tree, only: 'middle' })
      plant(top, { d: { new: 'n' }, o: { new: 'n', deep: { y: 'y' } } })
      hide(top, 'a')
      hide(top, 'gone')
      hide(path.join(top, 'd'), 'b')
      hide(path.join(top, 'd'), 'e')
      cut(path.join(top, 'o'))
      const expected = bench.under(system, (mnt) => snapshot(mnt), false)
      expect([...expected.keys()]).toContain('d/a')
      expect([...expected.keys()]).not.toContain('o/old')
      const client = new Client({ lower: bench.lower })
      const got = new EngineDriver(client).facts()
      client.close()
      expect(differences(expected, got)).toEqual([])
    })
})
