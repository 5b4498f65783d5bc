/** What a test has changed: as a list, as a patch, and against what it should have changed. */

import type { Kind } from '../diff/compare.js'
import { diffStacks, letterOf } from '../diff/diff.js'
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

/** What can tell its changes: a fixture. */
export interface Changed {
  diff(): Promise<FixtureChange[]>
  patch(): Promise<string>
}

/** Lines of a patch that a message shows. */
const MAX_LINES = 60

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

export interface Verdict {
  pass: boolean
  message(): string
}

/**
 * Whether exactly these paths have changed. A directory that is only told for what it holds need not be named, and may
 * be.
 */
export async function verdict(fixture: Changed, expected: readonly string[]): Promise<Verdict> {
  const changes = await fixture.diff()
  const known = new Set(changes.map((c) => c.path))
  const named = new Set(expected.map((path) => path.replace(/^\.?\/+|\/+$/g, '')))
  const parents = new Set(changes.flatMap((c) => above(c.path)))
  const implied = (c: FixtureChange): boolean =>
    c.kind === 'contents' || (c.kind === 'added' && parents.has(c.path))
  const missing = [...named].filter((path) => !known.has(path))
  const unexpected = changes.filter((c) => !named.has(c.path) && !implied(c))
  const pass = missing.length === 0 && unexpected.length === 0
  const text = pass ? '' : cut(await fixture.patch())
  return { pass, message: () => explain(pass, named, changes, missing, unexpected, text) }
}

function above(path: string): string[] {
  const all: string[] = []
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) all.push(path.slice(0, at))
  return all
}

function explain(
  pass: boolean,
  named: ReadonlySet<string>,
  changes: readonly FixtureChange[],
  missing: readonly string[],
  unexpected: readonly FixtureChange[],
  patch: string,
): string {
  if (pass)
    return named.size === 0
      ? 'the fixture is unchanged, and should have changed'
      : `the fixture has changed as named: ${[...named].join(', ')}`
  const lines = [
    named.size === 0 ? 'the fixture should be unchanged' : 'the fixture has changed otherwise than named',
  ]
  for (const path of missing) lines.push(`  - ${path}: named, but unchanged`)
  for (const { path, change, kind } of unexpected) lines.push(`  + ${change} ${path || '/'} (${kind})`)
  const rest = changes.filter((c) => named.has(c.path))
  for (const { path, change } of rest) lines.push(`    ${change} ${path}: as named`)
  return [...lines, ...(patch === '' ? [] : ['', patch])].join('\n')
}

function cut(text: string): string {
  const lines = text.split('\n')
  return lines.length <= MAX_LINES
    ? text.trimEnd()
    : [...lines.slice(0, MAX_LINES), `(${lines.length - MAX_LINES} more lines)`].join('\n')
}
