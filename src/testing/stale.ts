/** Places on Linux: locked by flock(2), and freed of dead mounts. */

import { spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
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
import { removeTree } from './contents.js'
import { isMine, type Keeper, sweep, UPPER } from './place.js'

export const flocks: Keeper = {
  take(dir) {
    const lock = lockDir(dir)
    if (lock < 0) throw new LayerfsError('IO', `cannot lock ${dir}: ${errnoText(lock)}`, { errno: -lock })
    return () => close(lock)
  },
  mountpoints: () => mounts().map((m) => m.mountpoint),
}

/** @returns a descriptor that holds the lock, -EAGAIN where another process does */
function lockDir(path: string): number {
  const fd = open(AT_FDCWD, bytesOf(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  if (fd < 0) return fd
  const r = flock(fd, LOCK_EX | LOCK_NB)
  if (r < 0) close(fd)
  return r < 0 ? r : fd
}

/**
 * Frees what fixtures of processes that have ended without unmounting left under the temporary directory: dead mounts,
 * uppers, copies.
 *
 * @returns the directories that are gone now
 */
export const freeStale = (): string[] =>
  sweep((under, base) => {
    const lock = lockDir(base)
    if (lock < 0) return false
    const freed = free(under, base)
    close(lock)
    return freed
  })

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
    if (dirname(made) === under && basename(made).startsWith('layerfs-') && isMine(made)) removeTree(made)
  }
  removeTree(base)
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
