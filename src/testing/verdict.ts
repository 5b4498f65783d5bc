/** Whether a test has changed what it should have, and how the difference is told. */

import type { FixtureChange } from './changes.js'

/** What can tell its changes: a fixture. */
export interface Changed {
  diff(): Promise<FixtureChange[]>
  patch(): Promise<string>
}

/** Lines of a patch that a message shows. */
const MAX_LINES = 60

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
