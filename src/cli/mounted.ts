/** Which of the machine's mounts are ours. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import { type MountInfo, mountAt, mounts } from '../sys/mount.js'

/** Whether a mount is served by layerfs, going by its type or source; one with another subtype keeps the source. */
export const isLayerfs = (m: MountInfo): boolean =>
  m.type.startsWith('fuse') && (m.type.includes('layerfs') || m.source.includes('layerfs'))

/** The mounts of layerfs in this mount namespace, in the order in which they were made. */
export const layerfsMounts = (): MountInfo[] => mounts().filter(isLayerfs)

/**
 * The topmost mount at a path.
 * @param path as given by the user; a dead mount there is found too, as its last component is first taken as it stands
 * @throws LayerfsError NOT_FOUND; NOT_A_MOUNT that says what stands there instead
 */
export function layerfsAt(path: string): MountInfo {
  const absolute = resolve(path)
  const named = absolute === '/' ? '/' : join(real(dirname(absolute)), basename(absolute))
  const found = mountAt(named) ?? mountAt(real(absolute))
  if (found !== undefined && isLayerfs(found)) return found
  const what =
    found === undefined ? 'is not a mountpoint' : `is a mount of type ${found.type}, not of layerfs`
  throw new LayerfsError('NOT_A_MOUNT', `${path} ${what}: layerfs list shows the mounts`, { path })
}

function real(path: string): string {
  try {
    return realpathSync.native(path)
  } catch (error) {
    const errno = errnoOf(error) ?? 0
    throw new LayerfsError('NOT_FOUND', `cannot look at ${path}: ${errnoText(errno)}`, { errno, path })
  }
}
