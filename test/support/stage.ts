/**
 * A copy of the package that every user can read: the checkout may stand under a directory of mode 0700.
 */
import fs from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'
import { scratch } from './identity.js'

const TOP = path.resolve(import.meta.dirname, '../..')

export interface Stage {
  /** The copy's top directory: bin, dist, package.json and node_modules as an install would lay them. */
  dir: string
  /** The node that every user may run. */
  node: string
  /** Compiles a program of the tests into the stage and returns its path. */
  program(entry: string): Promise<string>
  remove(): void
}

/** The paths under node_modules of what the package needs to run. */
function dependencies(): string[] {
  const lock = JSON.parse(fs.readFileSync(path.join(TOP, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>
  }
  return Object.entries(lock.packages)
    .filter(([name, { dev, devOptional }]) => name !== '' && !dev && !devOptional)
    .map(([name]) => name)
    .filter((name) => fs.existsSync(path.join(TOP, name)))
}

const copy = (from: string, to: string): void =>
  fs.cpSync(from, to, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) => !path.relative(from, source).split(path.sep).includes('node_modules'),
  })

/** Gives everybody what the owner may read and run. */
function open(dir: string): void {
  fs.chmodSync(dir, 0o755)
  for (const entry of fs.readdirSync(dir, { withFileTypes: true, recursive: true })) {
    const file = path.join(entry.parentPath, entry.name)
    if (entry.isSymbolicLink()) continue
    const mode = fs.statSync(file).mode
    fs.chmodSync(file, mode | ((mode & 0o500) >> 3) | ((mode & 0o500) >> 6))
  }
}

/** Whether everybody may run this program: each directory above it can be entered. */
function executable(file: string): boolean {
  for (let at = file; ; at = path.dirname(at)) {
    if ((fs.statSync(at).mode & 0o001) === 0) return false
    if (at === '/') return true
  }
}

export function stage(): Stage {
  const dir = scratch('stage')
  for (const name of ['bin', 'dist', 'package.json', ...dependencies()]) {
    copy(path.join(TOP, name), path.join(dir, name))
  }
  open(dir)
  let node = fs.realpathSync(process.execPath)
  if (!executable(node)) {
    fs.copyFileSync(node, path.join(dir, 'node'))
    node = path.join(dir, 'node')
    fs.chmodSync(node, 0o755)
  }
  return {
    dir,
    node,
    async program(entry) {
      const outfile = path.join(dir, 'tests', `${path.basename(entry, '.ts')}.js`)
      await build({
        entryPoints: [entry],
        outfile,
        bundle: true,
        format: 'esm',
        platform: 'node',
        packages: 'external',
        logLevel: 'warning',
      })
      open(path.join(dir, 'tests'))
      return outfile
    },
    remove: () => fs.rmSync(dir, { recursive: true, force: true }),
  }
}
