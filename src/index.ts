/** The library: mount stacks of directories from a program, and work on layers without a mount. */

import './linux.js'

export { type CommitOptions, type CommitSummary, commitUpper } from './commit/commit.js'
export { type ConvertOptions, type ConvertSummary, convertLayer } from './commit/convert.js'
export { type SquashOptions, type SquashSummary, squashLayers } from './commit/squash.js'
export type { MountStatus } from './compose.js'
export { type Diff, diffStacks } from './diff/diff.js'
export { type ErrorCode, LayerfsError } from './errors.js'
export { type ExportOptions, type ExportSummary, exportTree } from './export/export.js'
export { type VerifyOptions, verifyExport } from './export/verify.js'
export type { MountStats, OpStats } from './fuse/stats.js'
export type { IdRange } from './idmap.js'
export { type Mount, mount, type UnmountOptions } from './mount.js'
export type { LayerInput, LayerSpec, MountInput } from './options.js'
