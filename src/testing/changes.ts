/** What a test has changed, as a list and as a patch: on Linux, through its system calls. */

import type { Kind } from '../diff/compare.js'
import { diffStacks } from '../diff/diff.js'
import { letterOf } from '../diff/letter.js'
import { patchOf } from '../diff/patch.js'
import type { ReadOptions } from '../export/source.js'
import { shown } from '../export/walk.js'
import type { LayerSpec } from '../options.js'

export interface FixtureChange {
  /** From the fixture's root, without a leading slash; empty for the root. */
  path: string
  /** Added, changed, deleted: podman's letters. */
  change: 'A' | 'C' | 'D'
  /** `contents`: a directory in which something has changed. `metadata`: mode, owner, times or xattrs only. */
  kind: Exclude<Kind, 'same'>
}

/** @param old the fixture directories; @param now what the test sees, as a stack */
export const changesOf = (
  old: readonly LayerSpec[],
  now: readonly LayerSpec[],
  options: ReadOptions,
): Promise<FixtureChange[]> =>
  diffStacks(old, now, options, ({ changes }) => {
    const all: FixtureChange[] = []
    for (const { path, kind } of changes)
      if (kind !== 'same') all.push({ path: shown(path).slice(1), change: letterOf(kind), kind })
    return all
  })

/** The changes of text files as a unified diff. Arguments as changesOf's. */
export const patchBetween = (
  old: readonly LayerSpec[],
  now: readonly LayerSpec[],
  options: ReadOptions,
): Promise<string> =>
  diffStacks(old, now, { ...options, deleted: true }, (diff) => {
    let text = ''
    for (const change of diff.changes) text += patchOf(change, diff.old, diff.now)
    return text
  })
