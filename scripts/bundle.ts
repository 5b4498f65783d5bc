/**
 * Bundles the programs that bin/ starts, and the threads they start, into dist/bundle: part of `npm run build`. A mount
 * loads three files instead of a hundred, which is a third of what its start costs the processor. Packages stay outside.
 *
 * The thread of a session, for which every mount waits, and its helpers are one script each, of the older kind: without
 * Node's loader of ES modules they start sooner.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'

const top = join(import.meta.dirname, '..')
const outdir = join(top, 'dist/bundle')

/** All in one directory: threads are found beside the file that starts them. */
const ENTRIES = {
  layerfs: 'src/cli/main.ts',
  'fuse-layerfs': 'src/compat/main.ts',
  'mount.fuse.layerfs': 'src/compat/helper.ts',
  early: 'src/cli/early.ts',
  daemon: 'src/cli/daemon.ts',
  linkworker: 'src/export/linkworker.ts',
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

const threads = await build({
  ...common,
  entryPoints: { worker: join(top, 'src/fuse/worker.ts'), helper: join(top, 'src/helper.ts') },
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  define: { 'import.meta.url': 'here' },
  banner: { js: "const here = require('node:url').pathToFileURL(__filename).href" },
})
const outputFiles = [...programs.outputFiles, ...threads.outputFiles]

mkdirSync(outdir, { recursive: true })
// What is the same stays, and what changes does so at once: programs may be starting from here now.
for (const { path, contents } of outputFiles) {
  if (existsSync(path) && readFileSync(path).equals(contents)) continue
  writeFileSync(`${path}.new`, contents)
  renameSync(`${path}.new`, path)
}
const made = new Set(outputFiles.map(({ path }) => basename(path)))
for (const name of readdirSync(outdir)) if (!made.has(name)) rmSync(join(outdir, name))
