import type { Caching } from './compose.js'
import type { MountOptions } from './options.js'
import { createUnion } from './union/union.js'
import type { Filesystem } from './vfs.js'

/**
 * Opens the layers. Do so before mounting: the mountpoint may lie within one.
 * @throws LayerfsError
 */
export const compose = (options: MountOptions, caching: Caching): Filesystem => createUnion(options, caching)
