/**
 * Bundles the programs that bin/ starts, and the threads they start, into dist/bundle: part of `npm run build`. A mount
 * loads three files instead of a hundred, which is a third of what its start costs the processor. Packages stay outside.
 *
 * What every mount waits for is one script each, of the older kind: without Node's loader of ES modules it starts sooner.
 * What V8 compiles of it is kept beside it: see src/cached.ts.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import { cacheOf } from '../src/cached.js'

const top = join(import.meta.dirname, '..')
const outdir = join(top, 'dist/bundle')

/** All in one directory: threads are found beside the file that starts them. */
const ENTRIES = {
  layerfs: 'src/cli/main.ts',
  'fuse-layerfs': 'src/compat/main.ts',
  'mount.fuse.layerfs': 'src/compat/helper.ts',
  daemon: 'src/cli/daemon.ts',
  linkworker: 'src/export/linkworker.ts',
  asker: 'src/cli/asker.ts',
}

const common = {
  outdir,
  bundle: true,
  platform: 'node',
  target: 'node20',
  packages: 'external',
  write: false,
  logLevel: 'warning',
} as const

const programs = await build({
  ...common,
  entryPoints: Object.entries(ENTRIES).map(([out, source]) => ({ out, in: join(top, source) })),
  splitting: true,
  format: 'esm',
})

const commonjs = {
  ...common,
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  define: { 'import.meta.url': 'here' },
  banner: { js: "const here = require('node:url').pathToFileURL(__filename).href" },
} as const

const scripts = await build({
  ...commonjs,
  entryPoints: { helper: join(top, 'src/helper.ts'), cached: join(top, 'src/cached.ts') },
})

const cached = await build({
  ...commonjs,
  entryNames: '[name]-[hash]',
  entryPoints: { worker: join(top, 'src/fuse/worker.ts'), launched: join(top, 'src/cli/launched.ts') },
})

const made = new Set<string>()

/** What is the same stays, and what changes does so at once: programs may be starting from here now. */
function put(path: string, contents: Uint8Array): void {
  made.add(basename(path))
  if (existsSync(path) && readFileSync(path).equals(contents)) return
  writeFileSync(`${path}.new`, contents)
  renameSync(`${path}.new`, path)
}

/** Compiles all of a script, not only what runs while it loads; then V8's flags are again those of who takes it. */
const COMPILE = `
  const { setFlagsFromString } = require('node:v8')
  const [cached, path, cache] = process.argv.slice(1)
  setFlagsFromString('--no-lazy')
  const { script } = require(cached).load(path)
  setFlagsFromString('--lazy')
  require('node:fs').writeFileSync(cache, script.createCachedData())
  process.exit()
`
function compile(path: string): void {
  const cache = cacheOf(path)
  execFileSync(process.execPath, ['-e', COMPILE, join(outdir, 'cached.cjs'), path, `${cache}.new`])
  renameSync(`${cache}.new`, cache)
  made.add(basename(cache))
}

mkdirSync(outdir, { recursive: true })
for (const { path, contents } of [...programs.outputFiles, ...scripts.outputFiles]) put(path, contents)
for (const { path, contents } of cached.outputFiles) {
  put(path, contents)
  compile(path)
  const [name = ''] = basename(path).split('-')
  const stub = `module.exports = require('./cached.cjs').load(require.resolve('./${basename(path)}')).exports\n`
  put(join(outdir, `${name}.cjs`), Buffer.from(stub))
}
for (const name of readdirSync(outdir)) if (!made.has(name)) rmSync(join(outdir, name))
