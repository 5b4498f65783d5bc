/** A fixture that is a copy, for where nothing can be mounted. Each step costs what the whole fixture costs. */

import { lstatSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { AT_FDCWD, EEXIST, S_IFCHR } from '../abi/linux.js'
import { commitUpper } from '../commit/commit.js'
import { exportTree } from '../export/export.js'
import type { ReadOptions } from '../export/source.js'
import { check } from '../export/walk.js'
import type { LayerSpec, MountInput } from '../options.js'
import { bytesOf } from '../sys/libc.js'
import { mknodAt } from '../sys/name.js'
import { changesOf, type FixtureChange, patchBetween } from './changes.js'
import type { Fixture, Leak, Snapshot } from './fixture.js'
import { leaksIn, tellLeaks } from './leaks.js'
import { givesAway, mustBeKept, mustBeNew, stackOf } from './mounted.js'
import { emptyOut, moveAll } from './move.js'
import { Place } from './place.js'

export class CopiedFixture implements Fixture {
  readonly how = 'copy'
  readonly upper = undefined
  private snapshots = 0

  private constructor(
    private readonly place: Place,
    private readonly lowers: readonly LayerSpec[],
    private readonly read: ReadOptions,
  ) {}

  get path(): string {
    return this.place.path
  }

  static async open(input: MountInput): Promise<CopiedFixture> {
    const place = Place.make()
    try {
      const { lowers, read } = stackOf({ ...input, mountpoint: place.path })
      await exportTree(lowers, place.path, { ...read, link: 'clone', into: true })
      place.use()
      return new CopiedFixture(place, lowers, read)
    } catch (error) {
      place.remove()
      throw error
    }
  }

  async diff(): Promise<FixtureChange[]> {
    this.place.mustBeThere()
    // Who may not give files away has copies that are all his own.
    const owners = givesAway() ? {} : { squashUid: 0, squashGid: 0 }
    return changesOf(this.lowers, [{ path: this.path }], { ...this.read, ...owners })
  }

  async patch(): Promise<string> {
    this.place.mustBeThere()
    return patchBetween(this.lowers, [{ path: this.path }], this.read)
  }

  reset(): Promise<Leak[]> {
    return this.become(this.lowers, this.read)
  }

  async snapshot(): Promise<Snapshot> {
    this.place.mustBeThere()
    this.snapshots++
    const path = join(this.place.base, `snapshot${this.snapshots}`)
    await exportTree([{ path: this.path }], path, { link: 'clone' })
    return { path }
  }

  async restore(snapshot: Snapshot): Promise<Leak[]> {
    mustBeKept(snapshot)
    return this.become([{ path: snapshot.path }], {})
  }

  async commit(dir: string): Promise<void> {
    this.place.mustBeThere()
    mustBeNew(dir)
    await commitUpper(this.path, dir, { lower: this.lowers })
    for (const { path, change } of await this.diff()) {
      if (change !== 'D') continue
      const place = join(dir, path)
      // A directory that is left as it was, but for what is missing in it, is not in the layer yet.
      mkdirSync(dirname(place), { recursive: true, mode: lstatSync(dirname(join(this.path, path))).mode })
      const r = mknodAt(AT_FDCWD, bytesOf(place), S_IFCHR, 0)
      if (r !== -EEXIST) check(r, 'make a whiteout at', bytesOf(place))
    }
  }

  async unmount(): Promise<void> {
    this.place.remove()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount()
  }

  /** Replaces all that is there. The directory itself stays the one it was: it may be a working directory. */
  private async become(layers: readonly LayerSpec[], options: ReadOptions): Promise<Leak[]> {
    this.place.mustBeThere()
    const copy = join(this.place.base, 'next')
    await exportTree(layers, copy, { ...options, link: 'clone' })
    emptyOut(this.path)
    const leaks = leaksIn(this.path)
    moveAll(copy, this.path)
    return leaks.length === 0 ? [] : tellLeaks(leaks, this.path, leaks.length)
  }
}
