/** A fixture that is a copy, for where nothing can be mounted. Each step costs what the whole fixture costs. */

import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { FixtureChange } from './changes.js'
import { emptyOut } from './contents.js'
import type { Fixture, Leak, Snapshot } from './fixture.js'
import { leaksIn, tellLeaks } from './leaks.js'
import { mustBeKept, mustBeNew } from './misuse.js'
import { type Keeper, Place } from './place.js'

/** How one fixture is copied and compared: with all that Linux knows of a file, or with what every system does. */
export interface Copier {
  readonly keeper: Keeper
  /** Fills an empty directory with what the fixture directories show. */
  fill(dir: string): Promise<void>
  /** Fills an empty directory with what another holds. */
  copy(from: string, dir: string): Promise<void>
  /** Moves all that `from` holds, and how it looks itself, to the empty `to`, and removes it. */
  moveAll(from: string, to: string): void
  diff(path: string): Promise<FixtureChange[]>
  patch(path: string): Promise<string>
  /** Makes `dir` a layer that holds the changes. */
  commit(path: string, dir: string): Promise<void>
}

export class CopiedFixture implements Fixture {
  readonly how = 'copy'
  readonly upper = undefined
  private snapshots = 0

  private constructor(
    private readonly place: Place,
    private readonly copier: Copier,
  ) {}

  get path(): string {
    return this.place.path
  }

  static async open(copier: Copier): Promise<CopiedFixture> {
    const place = Place.make(copier.keeper)
    try {
      await copier.fill(place.path)
      place.use()
      return new CopiedFixture(place, copier)
    } catch (error) {
      place.remove()
      throw error
    }
  }

  async diff(): Promise<FixtureChange[]> {
    this.place.mustBeThere()
    return this.copier.diff(this.path)
  }

  async patch(): Promise<string> {
    this.place.mustBeThere()
    return this.copier.patch(this.path)
  }

  reset(): Promise<Leak[]> {
    return this.become((dir) => this.copier.fill(dir))
  }

  async snapshot(): Promise<Snapshot> {
    this.place.mustBeThere()
    this.snapshots++
    const path = join(this.place.base, `snapshot${this.snapshots}`)
    mkdirSync(path)
    await this.copier.copy(this.path, path)
    return { path }
  }

  restore(snapshot: Snapshot): Promise<Leak[]> {
    return this.become((dir) => {
      mustBeKept(snapshot)
      return this.copier.copy(snapshot.path, dir)
    })
  }

  async commit(dir: string): Promise<void> {
    this.place.mustBeThere()
    mustBeNew(dir)
    await this.copier.commit(this.path, dir)
  }

  async unmount(): Promise<void> {
    this.place.remove()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount()
  }

  /** Replaces all that is there. The directory itself stays the one it was: it may be a working directory. */
  private async become(fill: (dir: string) => Promise<void>): Promise<Leak[]> {
    this.place.mustBeThere()
    const next = join(this.place.base, 'next')
    mkdirSync(next)
    try {
      await fill(next)
    } catch (error) {
      emptyOut(next)
      rmdirSync(next)
      throw error
    }
    emptyOut(this.path)
    const leaks = leaksIn(this.path)
    this.copier.moveAll(next, this.path)
    return leaks.length === 0 ? [] : tellLeaks(leaks, this.path, leaks.length)
  }
}
