import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const TOP = path.resolve(import.meta.dirname, '..')

/**
 * Who may import whom under src/, by folder or by file at its top. `errors` and `abi` are everybody's, and each part
 * may import itself. The lists are the house's plan: docs/architecture.md gives its reasons.
 */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  abi: [],
  errors: [],
  cached: [],
  platform: [],
  linux: ['platform'],
  tokens: [],
  vfs: [],
  sys: ['vfs'],
  idmap: ['vfs'],
  options: ['idmap', 'tokens'],
  union: ['vfs', 'idmap', 'options', 'sys'],
  // Both transports know the options of a mount and never the engine.
  fuse: ['vfs', 'sys', 'options'],
  native: ['vfs', 'options'],
  // The composition root: what a mount is made of, the engine's maker, the entry of helper threads, mount itself.
  compose: ['options', 'sys'],
  engine: ['vfs', 'options', 'union', 'compose'],
  helper: ['vfs', 'sys', 'union', 'fuse'],
  mount: ['vfs', 'idmap', 'options', 'sys', 'union', 'fuse', 'native', 'compose', 'engine'],
  export: ['vfs', 'idmap', 'options', 'sys', 'union'],
  diff: ['vfs', 'idmap', 'options', 'sys', 'union', 'export'],
  commit: ['vfs', 'idmap', 'options', 'sys', 'union', 'diff', 'export'],
  store: ['vfs', 'idmap', 'options', 'sys', 'mount', 'export', 'diff', 'commit'],
  snapshotter: ['sys', 'store'],
  oci: ['sys', 'idmap', 'options', 'store', 'diff', 'export'],
  testing: ['platform', 'vfs', 'options', 'sys', 'mount', 'export', 'diff', 'commit'],
}
/** May import everything: the commands, and what the package exports. */
const ROOTS = ['cli', 'compat', 'index']

/** Files that hold more than their part may, each with its reason. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // The entry of the session's worker thread builds the engine that it serves.
  'fuse/worker.ts': ['compose', 'engine'],
}

const sources = (dir: string): string[] =>
  fs
    .readdirSync(path.join(TOP, dir), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => path.relative(TOP, path.join(entry.parentPath, entry.name)))
    .sort()

const text = (file: string): string => fs.readFileSync(path.join(TOP, file), 'utf8')

/** `src/union/node.ts` and `src/vfs.js` -> `union`, `vfs`. */
const part = (file: string): string => (file.split('/')[1] ?? '').replace(/\.[jt]s$/, '')

function imports(file: string): string[] {
  return [...text(file).matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map((match) => match[1] ?? '')
}

/** Lines of `files` that match, with their places. */
const lines = (files: string[], pattern: RegExp): string[] =>
  files.flatMap((file) =>
    text(file)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}: ${line.trim()}`] : [])),
  )

const src = sources('src')
const all = [...src, ...sources('test'), ...sources('scripts')]

describe('architecture', () => {
  it('lets each part of src import only what the house allows', () => {
    const broken: string[] = []
    for (const file of src) {
      const from = part(file)
      if (ROOTS.includes(from)) continue
      const allowed = ALLOWED[from]
      if (allowed === undefined) {
        broken.push(`${file}: ${from} has no row in the table of this test`)
        continue
      }
      const more = EXCEPTIONS[file.slice('src/'.length)] ?? []
      for (const name of imports(file).filter((spec) => spec.startsWith('.'))) {
        const to = part(path.join(path.dirname(file), name))
        const fine = to === from || ['abi', 'errors', ...allowed, ...more].includes(to)
        if (!fine) broken.push(`${file} imports ${name}: ${from} may not import ${to}`)
      }
    }
    expect(broken).toEqual([])
  })

  it('loads koffi in src/sys alone, and the fuse-native binding in src/native alone', () => {
    const loads = (name: string): string[] => [
      ...new Set(src.filter((file) => imports(file).includes(name)).map(part)),
    ]
    expect(loads('koffi')).toEqual(['sys'])
    expect(loads('fuse-native').filter((from) => from !== 'native')).toEqual([])
  })

  it('imports node modules as node:', () => {
    expect(lines(all, /from '(fs|path|os|child_process|crypto|url|util|worker_threads|net|stream)'/)).toEqual(
      [],
    )
  })

  it('keeps files under 450 lines', () => {
    const long = all.map((file) => `${file}: ${text(file).split('\n').length - 1}`)
    expect(long.filter((entry) => Number(entry.split(' ')[1]) > 450)).toEqual([])
  })

  const own = path.relative(TOP, import.meta.filename)
  const rest = all.filter((file) => file !== own)

  it('has no any, and silences no checker', () => {
    expect(
      lines(rest, /(: |\bas |<|\| )any(\[\]|[>,;)]| [=|{]|$)|@ts-(ignore|expect-error|nocheck)|biome-ignore/),
    ).toEqual([])
  })

  it('skips no test and leaves nothing undone', () => {
    expect(lines(rest, /\b(it|test|describe|bench)\.(skip|only|todo|fails)\b/)).toEqual([])
    expect(lines(rest, /\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([])
  })
})
