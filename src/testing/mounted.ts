/** A fixture that is mounted. */

import { dirname, join } from 'node:path'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../abi/linux.js'
import { commitUpper } from '../commit/commit.js'
import { errnoText, LayerfsError } from '../errors.js'
import type { ReadOptions } from '../export/source.js'
import { type Mount, mount } from '../mount.js'
import { type LayerSpec, type MountInput, withDefaults } from '../options.js'
import { close, open, syncfs } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { geteuid, inFirstUserNamespace } from '../sys/thread.js'
import { changesOf, type FixtureChange, patchBetween } from './changes.js'
import type { Fixture, Leak, Snapshot } from './fixture.js'
import { leaksIn, tellLeaks } from './leaks.js'
import { mustBeKept, mustBeNew } from './misuse.js'
import { moveAll } from './move.js'
import { Place } from './place.js'
import { flocks } from './stale.js'

/** The layers and how they are read, from what was asked for. */
export function stackOf(input: MountInput): { lowers: LayerSpec[]; read: ReadOptions } {
  const { lower, uidmap, gidmap, squashUid, squashGid, redirect, override } = withDefaults(input)
  return {
    lowers: lower,
    read: {
      uidmap,
      gidmap,
      redirect,
      override,
      ...(squashUid === undefined ? {} : { squashUid }),
      ...(squashGid === undefined ? {} : { squashGid }),
    },
  }
}

/** Whether this process may give files to anybody. */
export const givesAway = (): boolean => geteuid() === 0 && inFirstUserNamespace()

export class MountedFixture implements Fixture {
  readonly how = 'mount'
  private snapshots = 0

  private constructor(
    private readonly place: Place,
    private readonly mount: Mount,
    readonly upper: string,
    private readonly lowers: readonly LayerSpec[],
    private readonly read: ReadOptions,
    /** The root of the upper could not be made like that of the lowers: this user may not. */
    private readonly unlike: boolean,
  ) {}

  get path(): string {
    return this.place.path
  }

  static async open(input: MountInput): Promise<MountedFixture> {
    const place = Place.make(flocks)
    const { path } = place
    try {
      // The other transport shares this thread: synchronous calls would hang. Nobody keeps the upper: nothing is synced.
      const asked: MountInput = {
        ...input,
        mountpoint: path,
        ephemeral: true,
        transport: 'kernel',
        volatile: true,
      }
      const { lowers, read } = stackOf(asked)
      const mounted = await mount(asked)
      const upper = (mounted.status().engine as { ephemeral: string }).ephemeral
      place.use(upper)
      const unlike = !givesAway() && (await changesOf(lowers, [{ path: upper }, ...lowers], read)).length > 0
      return new MountedFixture(place, mounted, upper, lowers, read, unlike)
    } catch (error) {
      place.remove()
      throw error
    }
  }

  private get stack(): LayerSpec[] {
    return [{ path: this.upper }, ...this.lowers]
  }

  async diff(): Promise<FixtureChange[]> {
    this.flush()
    const changes = await changesOf(this.lowers, this.stack, this.read)
    return this.unlike ? changes.filter(({ path }) => path !== '') : changes
  }

  async patch(): Promise<string> {
    this.flush()
    return patchBetween(this.lowers, this.stack, this.read)
  }

  async reset(): Promise<Leak[]> {
    this.place.mustBeThere()
    const leaked = await this.mount.reset()
    return leaked === 0 ? [] : tellLeaks(leaksIn(this.path), this.path, leaked)
  }

  async snapshot(): Promise<Snapshot> {
    this.flush()
    this.snapshots++
    const path = join(dirname(this.upper), `snapshot${this.snapshots}`)
    await commitUpper(this.upper, path, { mounted: true })
    return { path }
  }

  async restore(snapshot: Snapshot): Promise<Leak[]> {
    this.place.mustBeThere()
    mustBeKept(snapshot)
    const copy = join(dirname(this.upper), 'restored')
    await commitUpper(snapshot.path, copy)
    const leaks = await this.reset()
    moveAll(copy, this.upper)
    await this.mount.reload()
    return leaks
  }

  async commit(dir: string): Promise<void> {
    this.flush()
    mustBeNew(dir)
    await commitUpper(this.upper, dir, { mounted: true, lower: this.lowers })
  }

  async unmount(): Promise<void> {
    try {
      await this.mount.unmount()
    } catch (error) {
      if (!(error instanceof LayerfsError) || error.code !== 'MOUNTPOINT_BUSY') throw error
      process.emitWarning(`${error.message}. It is detached.`, 'LayerfsWarning')
      await this.mount.unmount({ lazy: true })
    }
    this.place.remove()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount()
  }

  /** What the kernel has yet to write reaches the upper. */
  private flush(): void {
    this.place.mustBeThere()
    const fd = open(AT_FDCWD, bytesOf(this.path), O_RDONLY | O_DIRECTORY)
    const r = fd < 0 ? fd : syncfs(fd)
    if (fd >= 0) close(fd)
    if (r < 0) throw new LayerfsError('IO', `cannot sync ${this.path}: ${errnoText(r)}`, { errno: -r })
  }
}
