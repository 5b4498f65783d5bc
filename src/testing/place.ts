/** Where fixtures stand: a directory each under the temporary one, and how those of dead processes are found. */

import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { LayerfsError } from '../errors.js'
import { removeTree } from './contents.js'

const PREFIX = 'layerfs-fixture-'
/** Its name until its owner is marked: nobody takes it for one whose owner is gone. */
const UNMARKED = 'layerfs-new-'
/** The link in it to an upper that lies elsewhere. */
export const UPPER = 'upper'

/** How a directory is marked as a living process's own: as the system allows. */
export interface Keeper {
  /**
   * Marks one as this process's for as long as the process lives.
   *
   * @returns gives it up
   * @throws LayerfsError IO
   */
  take(dir: string): () => void
  /** Directories on which something is mounted. */
  mountpoints(): readonly string[]
}

/** A directory that is this process's own for as long as the process lives. */
export class Place {
  private removed = false

  private constructor(
    readonly base: string,
    private readonly keeper: Keeper,
    private readonly giveUp: () => void,
  ) {}

  /** What a test sees: a mountpoint, or a directory of its own. */
  get path(): string {
    return join(this.base, 'mnt')
  }

  /** @throws LayerfsError IO */
  static make(keeper: Keeper): Place {
    const made = mkdtempSync(join(realpathSync(tmpdir()), UNMARKED))
    const giveUp = keeper.take(made)
    const base = join(dirname(made), PREFIX + basename(made).slice(UNMARKED.length))
    const place = new Place(base, keeper, giveUp)
    renameSync(made, base)
    // Programs that a test starts as other users pass through here.
    chmodSync(base, 0o711)
    mkdirSync(place.path)
    return place
  }

  /**
   * It is in use: the exit of the process removes it, after what is mounted on it.
   *
   * @param upper where the upper is, for whoever frees this after a crash
   */
  use(upper?: string): void {
    if (upper !== undefined) symlinkSync(upper, join(this.base, UPPER))
    live.add(this)
    if (!hooked) process.on('exit', () => removeAll(this.keeper))
    hooked = true
  }

  /** @throws LayerfsError USAGE where the fixture has been unmounted */
  mustBeThere(): void {
    if (this.removed)
      throw new LayerfsError('USAGE', `the fixture ${this.path} is unmounted: make another one`)
  }

  /** Removes the directory, which has no mount any more, and all in it. */
  remove(): void {
    if (this.removed) return
    this.removed = true
    live.delete(this)
    removeTree(this.base)
    this.giveUp()
  }
}

const live = new Set<Place>()
let hooked = false

/** At the process's exit, where unmounting may have failed. */
function removeAll(keeper: Keeper): void {
  const mounted = new Set(keeper.mountpoints())
  for (const place of live) if (!mounted.has(place.path)) place.remove()
}

/**
 * Goes through the places of this user.
 *
 * @param free removes one unless its owner lives, and says whether it did
 * @returns those that are gone now
 */
export function sweep(free: (under: string, base: string) => boolean): string[] {
  const under = realpathSync(tmpdir())
  return readdirSync(under)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(under, name))
    .filter((base) => isMine(base) && free(under, base))
}

/** Whether it is a directory of this user. */
export function isMine(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === (process.geteuid?.() ?? found.uid)
}
