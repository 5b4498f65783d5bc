/** Manifests: a line of JSON for each file of a tree, and the check of a directory against them. */

import { closeSync, createReadStream, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { DT_DIR, DT_UNKNOWN, ENOENT, ENOTDIR } from '../abi/linux.js'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import { bytesOf, textOf } from '../sys/libc.js'
import { statAt } from '../sys/stat.js'
import { readListing } from '../union/listing.js'
import type { Loc } from '../union/loc.js'
import { statIn } from '../union/override.js'
import { Attr, type Name } from '../vfs.js'
import { type Facts, factsOf, type Hash, hashOf, loadHash } from './facts.js'
import { AS_SHOWN, openContent, openQuietly } from './place.js'
import { closeLayers, openLayers, type Source } from './source.js'
import { check, drive, type MergedDir, shown, walk, within } from './walk.js'

/** One line of a manifest. Paths and targets that are no UTF-8 text are given in base64 instead. */
interface Line extends Omit<Facts, 'target'> {
  /** Path from the tree's root, which itself is `.`. */
  path?: string
  path64?: string
  target?: string
  target64?: string
  /** Directory of the layer that provides it. */
  layer: string
}

const attr = new Attr()

/** A byte string as the member `key`, or in base64 as `key64`. */
function text<K extends 'path' | 'target'>(key: K, bytes: Name): Record<string, string> {
  const shownText = textOf(bytes)
  return bytesOf(shownText) === bytes
    ? { [key]: shownText }
    : { [`${key}64`]: Buffer.from(bytes, 'latin1').toString('base64') }
}

function lineOf(path: Name, { target, ...facts }: Facts, layer: string): string {
  const line = {
    ...text('path', path.length === 0 ? '.' : path),
    ...facts,
    ...(target === undefined ? {} : text('target', target)),
    layer,
  }
  return `${JSON.stringify(line)}\n`
}

function* lines(source: Source, hash: Hash): Generator<string, void> {
  for (const { kind, dir } of walk(source)) {
    if (kind === 'leave') continue
    const top = dir.locs[0] as Loc
    const fd = check(top.fd(), 'open', dir.path)
    check(statIn(top.layer, fd, '.', attr), 'look at', dir.path)
    yield lineOf(dir.path, factsOf(attr, top.layer, fd, '.', dir.path), top.layer.path)
    for (const [at, type] of dir.listing.types.entries())
      if (type !== DT_DIR && type !== DT_UNKNOWN) yield fileLine(source, dir, at, hash)
  }
}

function fileLine(source: Source, dir: MergedDir, at: number, hash: Hash): string {
  const name = dir.listing.names[at] as Name
  const loc = dir.listing.from[at] as Loc
  const path = within(dir, name)
  const fd = check(loc.fd(), 'open', dir.path)
  check(statIn(loc.layer, fd, name, attr), 'look at', path)
  const facts = factsOf(attr, loc.layer, fd, name, path)
  if (facts.type === 'file') facts.hash = hashOf(hash, openContent(source.stack, dir.locs, loc, name), path)
  return lineOf(path, facts, loc.layer.path)
}

/** How much text is gathered before it is written. */
const WRITE_CHARS = 256 * 1024

/**
 * Writes the manifest of a tree. The file appears whole or not at all.
 *
 * @throws LayerfsError IO; the reason of `signal`
 */
export async function writeManifest(source: Source, file: string, signal?: AbortSignal): Promise<void> {
  const hash = await loadHash()
  const partial = `${file}.${process.pid}.partial`
  const fd = attempt(file, () => openSync(partial, 'wx', 0o644))
  try {
    await drive(write(lines(source, hash), fd, file), signal)
    attempt(file, () => renameSync(partial, file))
  } catch (error) {
    rmSync(partial, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
}

function* write(all: Generator<string, void>, fd: number, file: string): Generator<void, void> {
  let gathered = ''
  const flush = (): void => {
    const bytes = Buffer.from(gathered)
    for (let at = 0; at < bytes.length; ) at += attempt(file, () => writeSync(fd, bytes, at))
    gathered = ''
  }
  for (const line of all) {
    gathered += line
    if (gathered.length > WRITE_CHARS) flush()
    yield
  }
  flush()
}

function attempt<T>(file: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    const errno = errnoOf(error) ?? 0
    throw new LayerfsError('IO', `cannot write ${file}: ${errnoText(errno)}`, { errno, path: file })
  }
}

/** Where a file differs from what was expected of it. */
export interface Difference {
  /** As `/etc/motd`. */
  path: string
  /** A fact, `missing` or `extra`. */
  what: string
  expected?: string
  got?: string
}

/** Compares facts; those that `expected` lacks do not count. */
export function* compareFacts(path: Name, expected: Facts, got: Facts): Generator<Difference, void> {
  for (const key of Object.keys(expected) as (keyof Facts)[]) {
    const [a, b] = [expected[key], got[key]]
    if (a !== b) yield { path: shown(path), what: key, expected: spell(a), got: spell(b) }
  }
}

const spell = (value: string | number | undefined): string =>
  value === undefined ? 'none' : typeof value === 'string' ? textOf(value) : String(value)

/**
 * Checks a directory against a manifest.
 *
 * @param report called with each difference
 * @returns how many lines were checked
 * @throws LayerfsError CORRUPT where the file is no manifest, NOT_FOUND, NO_SUCH_DIRECTORY
 */
export async function verifyManifest(
  file: string,
  dir: string,
  report: (difference: Difference) => void,
  signal?: AbortSignal,
): Promise<number> {
  const hash = await loadHash()
  const layers = openLayers([{ path: dir }])
  const root = (layers[0] as { root: Loc }).root
  const checker = new Checker(root, hash, report)
  const input = createReadStream(file)
  let count = 0
  try {
    const reader = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
    for await (const line of reader) {
      signal?.throwIfAborted()
      count++
      checker.check(parse(line, file, count))
    }
    checker.finish()
  } catch (error) {
    if (error instanceof LayerfsError) throw error
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    throw new LayerfsError('NOT_FOUND', `cannot read ${file}: ${errnoText(errno)}`, { errno, path: file })
  } finally {
    input.destroy()
    closeLayers(layers)
  }
  return count
}

/** @throws LayerfsError CORRUPT */
function parse(line: string, file: string, at: number): { path: Name; facts: Facts } {
  const bad = new LayerfsError('CORRUPT', `${file}: line ${at} is no line of a manifest`, { path: file })
  let read: Line
  try {
    read = JSON.parse(line) as Line
  } catch {
    throw bad
  }
  const { path, path64, target, target64, layer, ...facts } = read
  const bytes = decode(path, path64)
  if (bytes === undefined || typeof facts.type !== 'string' || typeof layer !== 'string') throw bad
  if (bytes !== '.' && bytes.split('/').some((part) => part === '' || part === '.' || part === '..'))
    throw bad
  const link = decode(target, target64)
  return { path: bytes === '.' ? '' : bytes, facts: link === undefined ? facts : { ...facts, target: link } }
}

const decode = (plain: string | undefined, base64: string | undefined): Name | undefined =>
  plain !== undefined
    ? bytesOf(plain)
    : base64 === undefined
      ? undefined
      : Buffer.from(base64, 'base64').toString('latin1')

/** A directory whose lines are being read. */
interface Level {
  path: Name
  loc: Loc
  names: Set<Name>
}

/** Follows the lines, which name a directory before what it holds, and tells what a directory holds beyond them. */
class Checker {
  private readonly levels: Level[] = []

  constructor(
    private readonly root: Loc,
    private readonly hash: Hash,
    private readonly report: (difference: Difference) => void,
  ) {}

  check({ path, facts }: { path: Name; facts: Facts }): void {
    const cut = path.lastIndexOf('/')
    const above = cut < 0 ? '' : path.slice(0, cut)
    if (path.length > 0) {
      while (this.levels.length > 0 && this.levels.at(-1)?.path !== above) this.leave()
      const level = this.levels.at(-1)
      if (level === undefined)
        throw new LayerfsError('CORRUPT', `the manifest names ${shown(path)} before its directory`)
      level.names.add(path.slice(cut + 1))
    }
    const loc = path.length === 0 ? this.root : (this.levels.at(-1) as Level).loc
    const name = path.length === 0 ? '.' : path.slice(cut + 1)
    if (facts.type === 'dir')
      this.levels.push({ path, loc: path.length === 0 ? loc : loc.child(name), names: new Set() })
    const fd = loc.fd()
    const r = fd < 0 ? fd : statAt(fd, name, attr)
    if (r === -ENOENT || r === -ENOTDIR) {
      this.report({ path: shown(path), what: 'missing' })
      return
    }
    check(r, 'look at', path)
    const got = factsOf(attr, AS_SHOWN, fd, name, path)
    if (got.type === 'file' && facts.hash !== undefined)
      got.hash = hashOf(this.hash, openQuietly(fd, name), path)
    for (const difference of compareFacts(path, facts, got)) this.report(difference)
  }

  finish(): void {
    while (this.levels.length > 0) this.leave()
  }

  private leave(): void {
    const { path, loc, names } = this.levels.pop() as Level
    const listing = readListing([loc])
    if (typeof listing === 'number') return
    for (const name of listing.names)
      if (!names.has(name)) this.report({ path: shown(within({ path }, name)), what: 'extra' })
    if (path.length > 0) loc.drop()
  }
}
