/** What fuse-overlayfs's options mean here. */
import { LayerfsError } from '../errors.js'
import {
  isKernelOption,
  type MountOptions,
  type PartialOptions,
  setOption,
  withDefaults,
} from '../options.js'
import { type OptionWord, splitPaths } from '../tokens.js'
import type { CompatWords } from './words.js'

export interface CompatOptions {
  options: MountOptions
  /** Words without meaning: they are told and change nothing. */
  ignored: string[]
}

/**
 * Options that are accepted and change nothing, as what they ask for is so anyway or does not exist here: inode
 * numbers are 64 bits wide and stable, link counts exact, ACLs and xattrs as the layers hold them, and there is one
 * session thread.
 */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  (
    'threaded fast_ino static_nlink noacl noxattrs xino ino32_t clone_fd max_threads max_idle_threads max_write ' +
    'auto_unmount big_writes nonempty'
  ).split(' '),
)

/** Words of mount(8) about access times: one of them given, `noatime` is not added. */
const ATIME = /^(no)?(atime|relatime|strictatime)$/

/** fuse-overlayfs names the options of libfuse and mount(8) too; ours besides can be given by the names that layerfs has for them. */
const SETTERS: Readonly<Record<string, (into: PartialOptions, word: OptionWord) => void>> = {
  lowerdir: (into, { raw = '' }) => {
    into.lower = splitPaths(raw).map((path) => ({ path }))
  },
  upperdir: (into, { value = '' }) => {
    if (value === '') delete into.upper
    else into.upper = { path: value }
  },
  workdir: (into, { value = '' }) => {
    if (value === '') delete into.work
    else into.work = value
  },
  uidmapping: (into, { value = '' }) => {
    into.uidmap = []
    setOption(into, 'uidmap', value)
  },
  gidmapping: (into, { value = '' }) => {
    into.gidmap = []
    setOption(into, 'gidmap', value)
  },
  fsync: (into, word) => {
    if (numberOf(word) === 0) into.volatile = true
  },
  volatile: (into) => {
    into.volatile = true
  },
  writeback: (into, word) => {
    into.writeback = numberOf(word) === 0 ? 'off' : 'on'
  },
  xattr_permissions: (into, word) => {
    const value = numberOf(word)
    if (value > 2) throw bad(word, '0, 1 or 2')
    into.override = OVERRIDES[value] as MountOptions['override']
  },
  redirect_dir: (into, word) => {
    setOption(into, 'redirect', word.value === 'nofollow' ? 'off' : word.value)
  },
}

/** By the value of xattr_permissions. */
const OVERRIDES: readonly MountOptions['override'][] = ['off', 'security', 'xattr']

/** fuse-overlayfs passes these to a C program's sscanf(%d); a bare word counts as 1. */
function numberOf(word: OptionWord): number {
  const text = word.value ?? '1'
  if (!/^\d{1,9}$/.test(text)) throw bad(word, 'a number')
  return Number(text)
}

const bad = ({ name, value = '' }: OptionWord, expected: string): LayerfsError =>
  new LayerfsError('USAGE', `bad value "${value}" for ${name}: ${expected} expected`)

/**
 * @returns the mount that was asked for, its paths as given
 * @throws LayerfsError USAGE, BAD_MAP
 */
export function compatOptions(words: CompatWords): CompatOptions {
  const into: PartialOptions = { redirect: 'off', unmappedRoot: 'adopt' }
  const ignored: string[] = []
  for (const word of words.options) if (!set(into, word)) ignored.push(textOf(word))
  ignored.push(...words.unknown)
  const mountpoint = words.positionals.at(-1)
  if (mountpoint === undefined)
    throw new LayerfsError('USAGE', 'no mountpoint specified: end the command with the directory to mount on')
  if (into.lower === undefined || into.lower.length === 0)
    throw new LayerfsError('USAGE', 'no lower directories specified: add -o lowerdir=DIR[:DIR]...')
  if (into.upper !== undefined && into.work === undefined)
    throw new LayerfsError(
      'USAGE',
      'workdir not specified: add -o workdir=DIR, on the filesystem of upperdir',
    )
  if (into.upper === undefined) delete into.work
  const kernelOptions = into.kernelOptions ?? []
  return {
    options: withDefaults({
      fsname: 'fuse-layerfs',
      ...into,
      debug: words.debug || into.debug === true,
      kernelOptions: kernelOptions.some((word) => ATIME.test(word))
        ? kernelOptions
        : [...kernelOptions, 'noatime'],
      mountpoint,
    }),
    ignored,
  }
}

const textOf = ({ name, value }: OptionWord): string => (value === undefined ? name : `${name}=${value}`)

/** @returns false where the word has no meaning */
function set(into: PartialOptions, word: OptionWord): boolean {
  const { name, value } = word
  if (WITHOUT_EFFECT.has(name)) return true
  const setter = Object.hasOwn(SETTERS, name) ? SETTERS[name] : undefined
  if (setter !== undefined) setter(into, word)
  else if (OURS.has(name) || isKernelOption(name, value !== undefined)) setOption(into, name, value)
  else return false
  return true
}

const OURS: ReadonlySet<string> = new Set(
  (
    'squash_to_root squash_to_uid squash_to_gid timeout debug metacopy index userxattr whiteouts xattrs override ' +
    'transport fsname subtype wake passthrough log'
  ).split(' '),
)
