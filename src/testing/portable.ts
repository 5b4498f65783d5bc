/** Copies for systems other than Linux, over node:fs alone: contents, modes, times and symlinks. */

import {
  type BigIntStats,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { letterOf } from '../diff/letter.js'
import { filePatch, MAX_TEXT_BYTES, textIn } from '../diff/text.js'
import { errnoName, errnoOf, errnoText, LayerfsError } from '../errors.js'
import { type MountInput, withDefaults } from '../options.js'
import { compareTrees, type PortableChange } from './compared.js'
import { moveContents, removeTree } from './contents.js'
import type { Copier } from './copied.js'
import { type Entry, list, rootOf, typeOf } from './merged.js'
import { pids } from './owner.js'

/** @throws LayerfsError USAGE, BAD_MAP; UNSUPPORTED for id maps */
export function portableCopier(input: MountInput): Copier {
  const options = withDefaults({ ...input, mountpoint: '/' })
  for (const { uidmap = [], gidmap = [] } of [options, ...options.lower])
    if (uidmap.length + gidmap.length > 0)
      throw new LayerfsError(
        'UNSUPPORTED',
        'id maps need Linux: leave out uidmap and gidmap on other systems',
      )
  const lowers = options.lower.map(({ path }) => resolve(path))
  return {
    keeper: pids,
    fill: (dir) => told(() => copyTree(rootOf(lowers), dir)),
    copy: (from, dir) => told(() => copyTree(rootOf([from]), dir)),
    moveAll(from, to) {
      const stats = statSync(from, { bigint: true })
      moveContents(from, to)
      dress(to, stats)
      rmdirSync(from)
    },
    diff: (path) =>
      told(() =>
        [...compareTrees(rootOf(lowers), rootOf([path]))].map((change) => ({
          path: change.path,
          change: letterOf(change.kind),
          kind: change.kind,
        })),
      ),
    patch: (path) =>
      told(() => {
        let text = ''
        for (const change of compareTrees(rootOf(lowers), rootOf([path]), true)) text += patchOf(change)
        return text
      }),
    commit: (path, dir) =>
      told(() => commit(compareTrees(rootOf(lowers), rootOf([path])), path, resolve(dir))),
  }
}

/** Tells what the system refuses as layerfs does. */
async function told<T>(work: () => T): Promise<T> {
  try {
    return work()
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined || error instanceof LayerfsError) throw error
    const { path = '', syscall = 'access' } = error as NodeJS.ErrnoException
    const code = ['EACCES', 'EPERM'].includes(errnoName(errno)) ? 'ACCESS_DENIED' : 'IO'
    throw new LayerfsError(code, `cannot ${syscall} ${path}: ${errnoText(errno)}`, {
      errno,
      path,
      cause: error,
    })
  }
}

function copyTree(root: Entry, dir: string): void {
  const left: string[] = []
  copyContents(root, dir, left)
  tellLeft(left)
}

function copyContents(from: Entry, dir: string, left: string[]): void {
  for (const [name, entry] of list(from)) copyEntry(entry, join(dir, name), left)
  dress(dir, from.stats)
}

/** @param left takes the names of what cannot be copied */
function copyEntry(entry: Entry, to: string, left: string[]): void {
  const type = typeOf(entry)
  if (type === 'special') left.push(entry.path)
  else if (type === 'directory') {
    mkdirSync(to)
    copyContents(entry, to, left)
  } else {
    if (type === 'symlink') symlinkSync(readlinkSync(entry.path), to)
    else copyFileSync(entry.path, to, constants.COPYFILE_FICLONE)
    dress(to, entry.stats)
  }
}

/** Gives a file the mode and times of another. */
function dress(path: string, stats: BigIntStats): void {
  if (!stats.isSymbolicLink()) chmodSync(path, Number(stats.mode & 0o7777n))
  lutimesSync(path, Number(stats.atimeNs) / 1e9, Number(stats.mtimeNs) / 1e9)
}

function tellLeft(left: readonly string[]): void {
  if (left.length === 0) return
  const names = left.slice(0, 5).join(', ')
  const more = left.length > 5 ? `, and ${left.length - 5} more` : ''
  process.emitWarning(`special files are left out of the copy: ${names}${more}`, 'LayerfsWarning')
}

function patchOf({ path, kind, old, now }: PortableChange): string {
  if (kind === 'metadata' || kind === 'contents') return ''
  for (const entry of [old, now]) if (entry !== undefined && typeOf(entry) !== 'file') return ''
  return filePatch(path, textOf(old), textOf(now))
}

/** As filePatch takes it. */
function textOf(entry: Entry | undefined): string | undefined | null {
  if (entry === undefined) return null
  return entry.stats.size > MAX_TEXT_BYTES ? undefined : textIn(readFileSync(entry.path))
}

/** Makes a layer whose whiteouts are those of OCI: devices cannot be made. It is there whole or not at all. */
function commit(changes: Iterable<PortableChange>, path: string, dir: string): void {
  const parent = dirname(dir)
  if (!existsSync(parent))
    throw new LayerfsError(
      'NO_SUCH_DIRECTORY',
      `no such directory: ${parent}; create it or correct the path`,
      { path: parent },
    )
  const made = mkdtempSync(join(parent, '.layerfs-commit-'))
  const left: string[] = []
  try {
    const dirs: [path: string, stats: BigIntStats][] = [[made, statSync(path, { bigint: true })]]
    for (const change of changes) {
      const to = join(made, change.path)
      if (change.now === undefined) writeFileSync(join(dirname(to), OCI_WHITEOUT_PREFIX + basename(to)), '')
      else if (typeOf(change.now) !== 'directory') copyEntry(change.now, to, left)
      else if (change.path !== '') {
        mkdirSync(to)
        dirs.push([to, change.now.stats])
      }
    }
    for (const [each, stats] of dirs.reverse()) dress(each, stats)
    renameSync(made, dir)
  } catch (error) {
    removeTree(made)
    throw error
  }
  tellLeft(left)
}
