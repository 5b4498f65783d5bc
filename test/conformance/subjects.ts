/** What the suite runs over: who mounts, where the prepared files lie, over which transport. */
import type { MountOptions } from '../../src/options.js'
import type { Identity } from '../support/identity.js'

/**
 * Where a case's prepared files are before it runs.
 *
 * - `directory`: in a plain directory with no mount over it: the control
 * - `upper`: in the upper
 * - `lower`: in a lower, the upper empty
 * - `merged`: in a lower between an upper and another lower that both have the case's directory; the lowest also holds a
 *   file that the upper whites out
 */
export type Layout = 'directory' | 'upper' | 'lower' | 'merged'

/** A union filesystem the suite knows to mount. */
export type System = 'layerfs' | 'overlay' | 'fuse-overlayfs'

export interface Subject {
  /** What is mounted: layerfs unless said otherwise. */
  system?: System
  as: Identity
  layout: Layout
  options?: Partial<MountOptions>
  /** Cases that this subject cannot pass, each with the reason. A case that passes all the same is reported. */
  except?: Readonly<Record<string, string>>
}

export const LAYOUTS: readonly Layout[] = ['upper', 'lower', 'merged']
