/** The library: mount stacks of directories from a program. */

export type { MountStatus } from './compose.js'
export { type ErrorCode, LayerfsError } from './errors.js'
export type { MountStats, OpStats } from './fuse/stats.js'
export type { IdRange } from './idmap.js'
export { type Mount, mount, type UnmountOptions } from './mount.js'
export type { LayerInput, LayerSpec, MountInput } from './options.js'
