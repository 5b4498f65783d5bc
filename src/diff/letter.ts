/** The letters of podman and docker. */

import type { Kind } from './compare.js'

/** The letter that podman and docker give a change. */
export const letterOf = (kind: Kind): 'A' | 'C' | 'D' =>
  kind === 'added' ? 'A' : kind === 'deleted' ? 'D' : 'C'
