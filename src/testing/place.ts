/** Where fixtures stand: a locked directory each under the temporary one, and how those of dead processes are freed. */

import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import {
  AT_FDCWD,
  EPERM,
  MNT_DETACH,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  UMOUNT_NOFOLLOW,
} from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import { close, flock, LOCK_EX, LOCK_NB, open } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { mounts, umount } from '../sys/mount.js'
import { geteuid } from '../sys/thread.js'

const PREFIX = 'layerfs-fixture-'
/** Its name until it is locked: nobody takes it for one whose owner is gone. */
const UNLOCKED = 'layerfs-new-'
/** The link in it to an upper that lies elsewhere. */
const UPPER = 'upper'

/** A directory that is this process's own for as long as the process lives. */
export class Place {
  private removed = false

  private constructor(
    readonly base: string,
    private readonly lock: number,
  ) {}

  /** What a test sees: a mountpoint, or a directory of its own. */
  get path(): string {
    return join(this.base, 'mnt')
  }

  /** @throws LayerfsError IO */
  static make(): Place {
    const made = mkdtempSync(join(realpathSync(tmpdir()), UNLOCKED))
    const lock = lockDir(made)
    if (lock < 0) throw new LayerfsError('IO', `cannot lock ${made}: ${errnoText(lock)}`, { errno: -lock })
    const place = new Place(join(dirname(made), PREFIX + basename(made).slice(UNLOCKED.length)), lock)
    renameSync(made, place.base)
    // Programs that a test starts as other users pass through here.
    chmodSync(place.base, 0o711)
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
    if (!hooked) process.on('exit', removeAll)
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
    rmSync(this.base, { recursive: true, force: true })
    close(this.lock)
  }
}

const live = new Set<Place>()
let hooked = false

/** At the process's exit, where unmounting may have failed. */
function removeAll(): void {
  const mounted = new Set(mounts().map((m) => m.mountpoint))
  for (const place of live) if (!mounted.has(place.path)) place.remove()
}

/** @returns a descriptor that holds the lock, -EAGAIN where another process does */
function lockDir(path: string): number {
  const fd = open(AT_FDCWD, bytesOf(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  if (fd < 0) return fd
  const r = flock(fd, LOCK_EX | LOCK_NB)
  if (r < 0) close(fd)
  return r < 0 ? r : fd
}

let swept = false

/** `freeStale`, the first time this process asks. */
export function freeStaleOnce(): void {
  if (!swept) freeStale()
  swept = true
}

/**
 * Frees what fixtures of processes that have ended without unmounting left under the temporary directory: dead mounts,
 * uppers, copies.
 *
 * @returns the directories that are gone now
 */
export function freeStale(): string[] {
  const under = realpathSync(tmpdir())
  const freed: string[] = []
  for (const name of readdirSync(under)) {
    const base = join(under, name)
    if (!name.startsWith(PREFIX) || !isMine(base)) continue
    const lock = lockDir(base)
    if (lock < 0) continue
    if (free(under, base)) freed.push(base)
    close(lock)
  }
  return freed
}

function isMine(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === geteuid()
}

function free(under: string, base: string): boolean {
  const mountpoint = join(base, 'mnt')
  const there = (): boolean => mounts().some((m) => m.mountpoint === mountpoint)
  if (there() && umount(mountpoint, UMOUNT_NOFOLLOW | MNT_DETACH) === -EPERM)
    spawnSync('fusermount3', ['-u', '-z', '--', mountpoint], { stdio: 'ignore' })
  if (there()) {
    process.emitWarning(
      `cannot free the dead mount ${mountpoint}: layerfs umount --stale says why`,
      'LayerfsWarning',
    )
    return false
  }
  const upper = upperOf(base)
  if (upper !== undefined) {
    const made = dirname(upper)
    if (dirname(made) === under && basename(made).startsWith('layerfs-') && isMine(made))
      rmSync(made, { recursive: true, force: true })
  }
  rmSync(base, { recursive: true, force: true })
  return true
}

function upperOf(base: string): string | undefined {
  try {
    return readlinkSync(join(base, UPPER))
  } catch {
    // A copy, or a crash before there was one.
    return undefined
  }
}
