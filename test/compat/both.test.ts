import { afterEach, describe, expect, it } from 'vitest'
import { differences, type Facts, snapshot } from '../support/tree.js'
import { Bench, label, type System } from './mount.js'
import { type Changes, change, fillLower } from './trees.js'

let bench: Bench
afterEach(() => bench.remove())

const layerfs = (...options: string[]): System => ({ name: 'layerfs', options })
const overlay = (...options: string[]): System => ({ name: 'overlay', options })
const fuseOverlayfs: System = { name: 'fuse-overlayfs' }

interface Pair {
  writer: System
  reader: System
  /** What is left undone, since the writer cannot do it or its result is known to be wrong. */
  without?: Partial<Changes>
  /** Facts that one of them shows wrongly. */
  apart?: readonly (keyof Facts)[]
}

const REDIRECT = 'redirect_dir=on'

const PAIRS: Pair[] = [
  { writer: layerfs(), reader: overlay(REDIRECT) },
  { writer: overlay(REDIRECT), reader: layerfs() },
  { writer: overlay(REDIRECT, 'xino=on'), reader: layerfs() },
  { writer: layerfs('metacopy'), reader: overlay(REDIRECT, 'metacopy=on') },
  { writer: overlay(REDIRECT, 'metacopy=on'), reader: layerfs() },
  { writer: overlay(REDIRECT, 'metacopy=on'), reader: layerfs('metacopy') },
  { writer: layerfs('index'), reader: overlay(REDIRECT, 'index=on') },
  { writer: overlay(REDIRECT, 'index=on'), reader: layerfs('index') },
  { writer: layerfs('userxattr'), reader: overlay('userxattr'), without: { renames: false } },
  { writer: overlay('userxattr'), reader: layerfs('userxattr'), without: { renames: false } },
  // It copies special files up wrongly, parts hard links, and dies of long names.
  {
    writer: fuseOverlayfs,
    reader: layerfs(),
    without: { root: false, renames: false, hardlinks: false, longNames: false, specials: false },
    // It keeps times of its own in memory while mounted.
    apart: ['mtime'],
  },
  // It opens the fifos of an upper when it starts, and waits for ever.
  // It counts the links that it has met.
  {
    writer: layerfs(),
    reader: fuseOverlayfs,
    without: { renames: false, specials: false },
    apart: ['nlink'],
  },
]

describe('one upper', () => {
  for (const { writer, reader, without, apart = [] } of PAIRS)
    it(`written by ${label(writer)} shows the same tree under ${label(reader)}`, () => {
      bench = new Bench()
      const look = (mnt: string) => snapshot(mnt, { without: apart })
      fillLower(bench.at('lower'), { root: true })
      const written = bench.under(writer, (mnt) => {
        change(mnt, {
          root: true,
          renames: true,
          hardlinks: true,
          longNames: true,
          specials: true,
          ...without,
        })
        return look(mnt)
      })
      const got = bench.under(reader, look)
      expect(written.size).toBeGreaterThan(40)
      expect(differences(written, got)).toEqual([])
    })
})
