/** A stack opened to be read without a mount: its files can be linked from, and nothing in it is written. */

import { realpathSync } from 'node:fs'
import { LayerfsError } from '../errors.js'
import { type LayerSpec, type StackOptions, withDefaults } from '../options.js'
import { Layer } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { rootLocs, type Stack } from '../union/resolve.js'

/** How a stack is to be read: its id maps, and whether redirects and override xattrs count. */
export type ReadOptions = Partial<
  Pick<StackOptions, 'uidmap' | 'gidmap' | 'squashUid' | 'squashGid' | 'redirect' | 'override'>
>

/** A stack in use. */
export interface Source {
  readonly stack: Stack
  /** The directories that merge as the root, topmost first. */
  readonly roots: readonly Loc[]
}

/**
 * Opens layers, an upper being one like the others. Layers given twice are opened once.
 *
 * @throws LayerfsError USAGE without layers; as Layer.open
 */
export function openLayers(specs: readonly LayerSpec[], options: ReadOptions = {}): Layer[] {
  // A mountpoint would only serve to keep out of one's own mount, and there is none.
  const { mountpoint: _, ...stack } = withDefaults({ ...options, lower: [...specs], mountpoint: '/' })
  const opened: Layer[] = []
  try {
    for (const spec of stack.lower) opened.push(Layer.open(spec, stack, false, false))
  } catch (error) {
    closeLayers(opened)
    throw error
  }
  return opened
}

export function closeLayers(layers: readonly Layer[]): void {
  for (const layer of layers) layer.root.closeRoot()
}

/** The stack that these layers make, topmost first. */
export function sourceOf(layers: readonly Layer[], options: ReadOptions = {}): Source {
  const stack: Stack = { layers, upper: undefined, followRedirects: options.redirect !== 'off' }
  return { stack, roots: rootLocs(layers) }
}

/** Runs `use` with the stack open. */
export async function withSource<T>(
  specs: readonly LayerSpec[],
  options: ReadOptions,
  use: (source: Source) => Promise<T>,
): Promise<T> {
  const layers = openLayers(specs, options)
  try {
    return await use(sourceOf(layers, options))
  } finally {
    closeLayers(layers)
  }
}

/** Refuses a new directory within a layer: it would be read while it is written. @param real without symlinks */
export function refuseWithin(layers: readonly Layer[], real: string): void {
  for (const layer of layers) {
    const top = realpathSync(layer.path)
    if (real === top || real.startsWith(top.endsWith('/') ? top : `${top}/`))
      throw new LayerfsError(
        'USAGE',
        `${real} lies within the layer ${layer.path}: choose a place outside every layer`,
        { path: real },
      )
  }
}
