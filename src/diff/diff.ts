/** `layerfs diff`: opens two stacks that may have layers in common, and compares them. */

import { realpathSync } from 'node:fs'
import { loadHash } from '../export/facts.js'
import { closeLayers, openLayers, type ReadOptions, type Source, sourceOf } from '../export/source.js'
import type { LayerSpec } from '../options.js'
import { type Change, type CompareOptions, compare } from './compare.js'

/** Two stacks, and what leads from the one to the other. */
export interface Diff {
  old: Source
  now: Source
  changes: Generator<Change, void>
}

/**
 * Opens both stacks, layers that both have once, and gives `use` their differences.
 *
 * @throws LayerfsError as openLayers; what `use` throws
 */
export async function diffStacks<T>(
  oldSpecs: readonly LayerSpec[],
  nowSpecs: readonly LayerSpec[],
  options: ReadOptions & CompareOptions,
  use: (diff: Diff) => T | Promise<T>,
): Promise<T> {
  const hash = await loadHash()
  const keyOf = (spec: LayerSpec): string =>
    JSON.stringify([realpathSync(spec.path), spec.uidmap ?? [], spec.gidmap ?? []])
  const nowLayers = openLayers(nowSpecs, options)
  const known = new Map(nowSpecs.map((spec, i) => [keyOf(spec), nowLayers[i]]))
  const fresh = oldSpecs.filter((spec) => {
    try {
      return !known.has(keyOf(spec))
    } catch {
      // openLayers says what is wrong with it.
      return true
    }
  })
  const opened = [...nowLayers]
  try {
    const freshLayers = fresh.length === 0 ? [] : openLayers(fresh, options)
    opened.push(...freshLayers)
    const oldLayers = oldSpecs.map((spec) => {
      const layer = freshLayers[fresh.indexOf(spec)] ?? known.get(keyOf(spec))
      if (layer === undefined) throw new Error(`layer ${spec.path} was not opened`)
      return layer
    })
    const [old, now] = [sourceOf(oldLayers, options), sourceOf(nowLayers, options)]
    return await use({ old, now, changes: compare(old, now, hash, options) })
  } finally {
    closeLayers(opened)
  }
}
