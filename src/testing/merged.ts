/** Directories merged as layers, by what every system tells of files. Whiteouts as in overlayfs.rst and the OCI image layer specification. */

import { type BigIntStats, lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { OCI_OPAQUE, OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { errnoName, errnoOf, LayerfsError } from '../errors.js'

/** A file of the merged tree. */
export interface Entry {
  /** Where the topmost layer that has it has it. */
  readonly path: string
  readonly stats: BigIntStats
  /** Of a directory: those that merge in it, topmost first. */
  readonly dirs: string[]
}

export type Type = 'directory' | 'file' | 'symlink' | 'special'

export const typeOf = ({ stats }: Entry): Type =>
  stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : stats.isSymbolicLink() ? 'symlink' : 'special'

/**
 * The root of a stack.
 *
 * @param layers topmost first
 * @throws LayerfsError NO_SUCH_DIRECTORY, NOT_A_DIRECTORY
 */
export function rootOf(layers: readonly string[]): Entry {
  const all = layers.map(layerAt)
  return { path: layers[0] as string, stats: all[0] as BigIntStats, dirs: [...layers] }
}

function layerAt(path: string): BigIntStats {
  let stats: BigIntStats
  try {
    stats = statSync(path, { bigint: true })
  } catch (error) {
    if (errnoName(errnoOf(error) ?? 0) !== 'ENOENT') throw error
    throw new LayerfsError('NO_SUCH_DIRECTORY', `no such directory: ${path}; create it or correct the path`, {
      path,
      cause: error,
    })
  }
  if (!stats.isDirectory())
    throw new LayerfsError('NOT_A_DIRECTORY', `not a directory: ${path}; a layer must be a directory`, {
      path,
    })
  return stats
}

/** What a directory shows, by name. */
export function list(directory: Entry): Map<string, Entry> {
  const shown = new Map<string, Entry>()
  /** Names of which the layers that follow show nothing. */
  const settled = new Set<string>()
  for (const dir of directory.dirs) {
    const names = readdirSync(dir)
    const settles: string[] = []
    for (const name of names) {
      if (name.startsWith(OCI_WHITEOUT_PREFIX)) settles.push(name.slice(OCI_WHITEOUT_PREFIX.length))
      else if (!settled.has(name) && !merge(shown, name, join(dir, name))) settles.push(name)
    }
    if (names.includes(OCI_OPAQUE)) break
    for (const name of settles) settled.add(name)
  }
  return shown
}

/** Takes in what a layer has. @returns whether more may merge with it */
function merge(shown: Map<string, Entry>, name: string, path: string): boolean {
  const stats = lstatSync(path, { bigint: true })
  const isDirectory = stats.isDirectory()
  const above = shown.get(name)
  if (above !== undefined && isDirectory) above.dirs.push(path)
  else if (above === undefined && !(stats.isCharacterDevice() && stats.rdev === 0n))
    shown.set(name, { path, stats, dirs: isDirectory ? [path] : [] })
  return isDirectory
}
