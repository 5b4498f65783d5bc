/** What the suite runs over: who mounts, where the prepared files lie, over which transport. */
import type { MountInput } from '../../src/options.js'
import { type Identity, powers } from '../support/identity.js'

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

/** Cases that a subject cannot pass, each with the reason. A case that passes all the same fails its test. */
export type Exceptions = Readonly<Record<string, string>>

export interface Subject {
  /** What is mounted: layerfs unless said otherwise. */
  system?: System
  as: Identity
  layout: Layout
  options?: Partial<MountInput>
  except?: Exceptions
}

export const LAYOUTS: readonly Layout[] = ['upper', 'lower', 'merged']

/** What cannot be as on a disk where a lower holds the files and the daemon has no privilege. */
const UNPRIVILEGED_LOWER: Exceptions = {
  'rename: of a prepared directory':
    'EXDEV: overlayfs with userxattr follows no redirects, so none are written',
}

const PLAIN_LOWER: Exceptions = {
  ...UNPRIVILEGED_LOWER,
  'modes: of a file whose mode forbids all are changed by its owner':
    'EACCES: without privilege nobody reads a file of mode 0 to copy it up, and a lower is never changed',
}

/** The exceptions of layerfs over the kernel transport. */
export function exceptions(as: Identity, layout: Layout): Exceptions {
  if (layout === 'upper' || layout === 'directory') return {}
  return { root: {}, plain: PLAIN_LOWER, userns: UNPRIVILEGED_LOWER }[powers(as)]
}
