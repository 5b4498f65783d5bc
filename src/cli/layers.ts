/** The words by which commands that need no mount name a stack: its layers, or a mount whose stack it is. */
import { realpathSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import type { Argv } from 'yargs'
import { XATTR_STATUS } from '../abi/layerfs.js'
import { AT_FDCWD, O_RDONLY } from '../abi/linux.js'
import { LayerfsError } from '../errors.js'
import type { ReadOptions } from '../export/source.js'
import { type LayerSpec, type PartialOptions, parseOptions, setOption } from '../options.js'
import { close, open, syncfs } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { ask } from './ask.js'
import type { Words } from './command.js'

/** A stack to read. */
export interface AskedStack {
  /** The topmost first; an upper is one like the others. */
  layers: LayerSpec[]
  /** Whether the first of them is the upper. */
  hasUpper: boolean
  options: ReadOptions
}

const FLAGS = ['lower', 'upper', 'uidmap', 'gidmap', 'squash-uid', 'squash-gid', 'override'] as const

/** Declares the flags of a stack. */
export const stackFlags = (yargs: Argv): Argv =>
  yargs.options({
    lower: {
      type: 'string',
      requiresArg: true,
      group: 'Stack:',
      describe: 'DIR: a layer, the topmost first; DIR,uidmap=MAP,gidmap=MAP gives it maps of its own',
    },
    upper: {
      type: 'string',
      requiresArg: true,
      group: 'Stack:',
      describe: 'DIR: the layer above all lowers',
    },
    uidmap: {
      type: 'string',
      requiresArg: true,
      group: 'Stack:',
      describe: 'MAP: users shifted, DISK:SHOWN:COUNT, several joined by ":"',
    },
    gidmap: { type: 'string', requiresArg: true, group: 'Stack:', describe: 'MAP: groups shifted' },
    'squash-uid': {
      type: 'string',
      requiresArg: true,
      group: 'Stack:',
      describe: 'UID: every file owned by this user',
    },
    'squash-gid': {
      type: 'string',
      requiresArg: true,
      group: 'Stack:',
      describe: 'GID: every file owned by this group',
    },
    override: {
      choices: ['off', 'xattr', 'security'],
      group: 'Stack:',
      describe: 'owner, mode and type as an override xattr of the layers has them',
    },
  })

/** All values that a flag was given with. */
export const valuesOf = (words: Words, name: string): string[] => {
  const given = words[name]
  return given === undefined ? [] : (Array.isArray(given) ? given : [given]).map(String)
}

/**
 * The stack that the flags name, or where there are none the one of the mount at the first path.
 *
 * @param paths the positionals; @param after what the command takes after the stack, for the message
 * @returns the stack, and the positionals that are left
 * @throws LayerfsError USAGE, BAD_MAP, NOT_A_MOUNT, DEAD_MOUNT
 */
export function askedStack(
  words: Words,
  paths: readonly string[],
  after: readonly string[],
): { stack: AskedStack; rest: string[] } {
  const partial: PartialOptions = {}
  for (const flag of FLAGS) for (const value of valuesOf(words, flag)) setOption(partial, flag, value)
  const byFlags = partial.lower !== undefined || partial.upper !== undefined
  const expected = [...(byFlags ? [] : ['MOUNTPOINT']), ...after]
  if (paths.length !== expected.length)
    throw new LayerfsError(
      'USAGE',
      byFlags
        ? `${after.join(' ') || 'nothing'} expected after the flags, but ${paths.length} paths given: ${paths.join(' ')}`
        : `give the stack by --lower DIR, or as the mount to read: ${expected.join(' ')} expected`,
    )
  if (!byFlags) return { stack: mountedStack(paths[0] as string), rest: paths.slice(1) }
  return { stack: stackOf(partial), rest: [...paths] }
}

/** The stack of a running mount, what it has yet to write written. */
export function mountedStack(mountpoint: string): AskedStack {
  const status = JSON.parse(ask(bytesOf(`${mountpoint}/`), XATTR_STATUS)) as {
    options: string
    engine: { layers: { path: string; writable: boolean }[] }
  }
  const partial = parseOptions(status.options)
  // An ephemeral upper is in no option.
  const upper = status.engine.layers.find((layer) => layer.writable)
  if (partial.upper === undefined && upper !== undefined) partial.upper = { path: upper.path }
  const stack = stackOf(partial)
  for (const { path } of stack.layers) refuseCovered(mountpoint, path)
  const fd = open(AT_FDCWD, bytesOf(mountpoint), O_RDONLY)
  if (fd >= 0) {
    syncfs(fd)
    close(fd)
  }
  return stack
}

function stackOf(partial: PartialOptions): AskedStack {
  const { lower = [], upper, uidmap, gidmap, squashUid, squashGid, redirect, override } = partial
  return {
    layers: [...(upper === undefined ? [] : [upper]), ...lower],
    hasUpper: upper !== undefined,
    options: {
      ...(uidmap === undefined ? {} : { uidmap }),
      ...(gidmap === undefined ? {} : { gidmap }),
      ...(squashUid === undefined ? {} : { squashUid }),
      ...(squashGid === undefined ? {} : { squashGid }),
      ...(redirect === undefined ? {} : { redirect }),
      ...(override === undefined ? {} : { override }),
    },
  }
}

/** A mount within a layer of its own covers what the layer has there. */
function refuseCovered(mountpoint: string, layer: string): void {
  const below = relative(realpathSync(layer), realpathSync(resolve(mountpoint)))
  if (below === '' || below === '..' || below.startsWith('../')) return
  throw new LayerfsError(
    'USAGE',
    `${mountpoint} is mounted within its layer ${layer} and covers part of it: unmount it and give the layers by --lower`,
    { path: mountpoint },
  )
}
