/** What the cases are made of, and the few helpers they share. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { errnoName } from '../../src/errors.js'

/**
 * - `root`: true root, for foreign ids, devices and `trusted.` xattrs.
 * - `mortal`: true root, which can act as somebody else for a while, or a plain user.
 */
export type Need = 'root' | 'mortal'

export interface Case {
  needs?: Need
  /** Makes files on a plain directory before it becomes a layer. Leaves the directory itself as it is. */
  prepare?(dir: string): void
  /** Does the work in the mounted directory and throws where it is not as on a disk. */
  run(dir: string): void
}

export type Cases = Record<string, Case | ((dir: string) => void)>

export interface NamedCase extends Case {
  /** `topic: what holds` */
  name: string
}

export const topic = (name: string, cases: Cases): NamedCase[] =>
  Object.entries(cases).map(([what, it]) => ({
    name: `${name}: ${what}`,
    ...(typeof it === 'function' ? { run: it } : it),
  }))

export const join = path.join
export const equal: (got: unknown, expected: unknown) => void = assert.equal
export const deepEqual: (got: unknown, expected: unknown) => void = assert.deepEqual
export const ok: (holds: boolean, message?: string) => void = assert.ok

/** Asserts that `action` fails with this errno, whether node:fs or test/support/sys throws it. */
export function fails(errno: number, action: () => unknown): void {
  let got: number
  try {
    action()
    got = 0
  } catch (error) {
    if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number') throw error
    got = Math.abs(error.errno)
  }
  const names = (n: number): string => (n === 0 ? 'success' : errnoName(n))
  equal(names(got), names(errno))
}

export const write = (dir: string, name: string, data: string | Buffer = name, mode = 0o644): void => {
  fs.writeFileSync(join(dir, name), data)
  fs.chmodSync(join(dir, name), mode)
}
export const read = (dir: string, name: string): string => fs.readFileSync(join(dir, name), 'latin1')
export const mkdir = (dir: string, name: string, mode = 0o755): string => {
  const made = join(dir, name)
  fs.mkdirSync(made)
  fs.chmodSync(made, mode)
  return made
}
export const lstat = (dir: string, name = ''): fs.BigIntStats =>
  fs.lstatSync(join(dir, name), { bigint: true })
export const perms = (dir: string, name = ''): number => fs.lstatSync(join(dir, name)).mode & 0o7777
export const list = (dir: string, name = ''): string[] => fs.readdirSync(join(dir, name)).sort()

/** Opens for the time of `use`. */
export function withFd<T>(file: string, flags: number | string, use: (fd: number) => T, mode = 0o644): T {
  const fd = fs.openSync(file, flags, mode)
  try {
    return use(fd)
  } finally {
    fs.closeSync(fd)
  }
}

/** Somebody who owns nothing: the id that `asMortal` acts as when the tests run as root. */
export const MORTAL = 12345

/** Runs `action` with another effective user and group, no supplementary groups and no capabilities. Needs root. */
export function asUser<T>(uid: number, gid: number, action: () => T, groups: number[] = []): T {
  const kept = process.getgroups?.() ?? []
  process.setgroups?.(groups)
  process.setegid?.(gid)
  process.seteuid?.(uid)
  try {
    return action()
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
    process.setgroups?.(kept)
  }
}

/** Runs `action` without privilege: as MORTAL when root, else as whoever we are. */
export const asMortal = <T>(action: () => T): T =>
  process.getuid?.() === 0 ? asUser(MORTAL, MORTAL, action) : action()

/** Gives a file to whom `asMortal` acts as. */
export function giveToMortal(file: string): void {
  if (process.getuid?.() === 0) fs.lchownSync(file, MORTAL, MORTAL)
}

/** Runs `action` under a file mode creation mask. */
export function withUmask<T>(mask: number, action: () => T): T {
  const kept = process.umask(mask)
  try {
    return action()
  } finally {
    process.umask(kept)
  }
}

/** `n` bytes that differ from place to place. */
export function pattern(n: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(n)
  let x = seed
  for (let i = 0; i < n; i++) {
    x = (x * 1103515245 + 12345) & 0x7fffffff
    bytes[i] = x >> 16
  }
  return bytes
}
