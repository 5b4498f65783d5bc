/** Layers in a scratch directory, and the command run on them. */
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { AT_FDCWD, S_IFCHR } from '../../src/abi/linux.js'
import { type ErrorCode, KINDS } from '../../src/errors.js'
import { removeTree } from '../../src/sys/remove.js'
import { command, environment, type Identity, scratch } from '../support/identity.js'
import { release } from '../support/mounts.js'
import { mknod, statx } from '../support/sys.js'

const TOP = path.resolve(import.meta.dirname, '../..')
/** The command's file in the checkout, which only root may be able to reach. */
export const BIN = path.join(TOP, 'bin/layerfs.js')

const COMMAND_TIMEOUT_MS = 120_000

/** A directory's contents: text of a file, a directory, or what makes it. */
export interface Contents {
  [name: string]: string | Contents | ((at: string) => void)
}

export const symlink =
  (target: string) =>
  (at: string): void =>
    fs.symlinkSync(target, at)

/** A hard link to another path of the same layer, made before. */
export const hardlink =
  (to: string) =>
  (at: string): void =>
    fs.linkSync(path.resolve(path.dirname(at), to), at)

export const whiteout = (at: string): void => mknod(Buffer.from(at).toString('latin1'), S_IFCHR, 0)

export function fill(dir: string, contents: Contents): void {
  fs.mkdirSync(dir, { recursive: true })
  for (const [name, what] of Object.entries(contents)) {
    const at = path.join(dir, name)
    if (typeof what === 'string') fs.writeFileSync(at, what)
    else if (typeof what === 'function') what(at)
    else fill(at, what)
  }
}

export class Bench {
  readonly dir: string

  constructor(name: string, as: Identity = 'root') {
    this.dir = scratch(name, as)
  }

  at(...names: string[]): string {
    return path.join(this.dir, ...names)
  }

  /** Makes a directory with these contents, a layer for example. */
  make(name: string, contents: Contents): string {
    fill(this.at(name), contents)
    return this.at(name)
  }

  /** All names that stand in the scratch directory, hidden ones too. */
  get names(): string[] {
    return fs.readdirSync(this.dir).sort()
  }

  [Symbol.dispose](): void {
    release(this.dir)
    // Also what lies deeper than paths reach.
    removeTree(AT_FDCWD, Buffer.from(this.dir).toString('latin1'))
  }
}

export interface Ran {
  code: number | null
  out: string
  err: string
}

/** Runs the command as root. */
export function layerfs(args: readonly string[], cwd?: string): Ran {
  const ran = spawnSync(process.execPath, [BIN, ...args], {
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  return { code: ran.status, out: ran.stdout, err: ran.stderr }
}

/** Runs the staged command as another user. */
export function layerfsAs(as: Identity, node: string, bin: string, args: readonly string[]): Ran {
  const [file = '', ...rest] = command(as, [node, bin, ...args])
  const ran = spawnSync(file, rest, {
    cwd: '/',
    encoding: 'utf8',
    env: environment(as),
    timeout: COMMAND_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { code: ran.status, out: ran.stdout, err: ran.stderr }
}

/** Starts the command as root, without waiting for it. */
export const start = (args: readonly string[]) =>
  spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], timeout: COMMAND_TIMEOUT_MS })

/** The exit code of a command that met this kind of failure. */
export const exitOf = (kind: ErrorCode): number => KINDS[kind][0]

/** A bound on tests of many files, which a busy machine may take long to make. */
export const MANY_FILES_MS = 240_000

/** Device and inode number. */
export function inode(file: string): string {
  const attr = statx(Buffer.from(file).toString('latin1'))
  return `${attr.dev}:${attr.ino}`
}
