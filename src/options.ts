/**
 * What a mount is made of. One table of options serves the `-o` string, the flags of the command line and the
 * formatter; `withDefaults` serves the library.
 */
import { LayerfsError } from './errors.js'
import { checkIdMap, formatIdMap, type IdRange, parseIdMap } from './idmap.js'
import {
  escapeOption,
  escapeSpec,
  joinPaths,
  nearest,
  splitOptions,
  splitPaths,
  splitSpec,
} from './tokens.js'

/** A directory of the stack, with id maps of its own where it has any. */
export interface LayerSpec {
  path: string
  uidmap?: IdRange[]
  gidmap?: IdRange[]
}

export interface StackOptions {
  /** The first is the topmost. */
  lower: LayerSpec[]
  /** Without an upper the mount is read-only. */
  upper?: LayerSpec
  /** An empty directory on the upper's filesystem. */
  work?: string
  /** The upper is a temporary directory that is gone at unmount. */
  ephemeral: boolean
  /** For every layer that has no map of its own. */
  uidmap: IdRange[]
  gidmap: IdRange[]
  /** Every file shows as owned by this id. */
  squashUid?: number
  squashGid?: number
  /**
   * What root makes while its own id has no mapping: `refuse` answers EOVERFLOW, as id-mapped mounts do; `adopt` gives
   * it to the first owner of the map, as container engines need that set a container up from outside.
   */
  unmappedRoot: 'refuse' | 'adopt'
  /** Directory renames: overlayfs's redirect_dir. `auto`: `on` with privilege; the kernel follows no others. */
  redirect: 'on' | 'follow' | 'off' | 'auto'
  /** chmod, chown and the like copy up no data: overlayfs's metacopy. */
  metacopy: boolean
  /** Hard links of a lower stay together across mounts: overlayfs's index. */
  index: boolean
  /** fsync and syncfs do nothing; after a crash the upper is refused. */
  volatile: boolean
  /** The form in which whiteouts are written. `auto`: what the upper holds already, else char 0/0 where mknod allows it. */
  whiteouts: 'auto' | 'overlay' | 'oci'
  /** The namespace of overlay xattrs. `auto`: `trusted` where the daemon may write it, else `user`. */
  xattrs: 'auto' | 'trusted' | 'user'
  /**
   * `xattr`: an unprivileged daemon keeps shown owner, mode and type in user.containers.override_stat; `security`: in
   * security.fuseoverlayfs.override_stat, which takes CAP_SYS_ADMIN to write.
   */
  override: 'off' | 'xattr' | 'security'
}

export interface MountOptions extends StackOptions {
  mountpoint: string
  transport: 'auto' | 'kernel' | 'fuse-native'
  /** Seconds for which the kernel may keep names and attributes. */
  timeout: number
  /** Options of mount(8) that go to the kernel: `allow_other`, `noatime`, `context=...` */
  kernelOptions: string[]
  /** The source shown in /proc/mounts. */
  fsname?: string
  /** The type shown in /proc/mounts is `fuse.SUBTYPE`. */
  subtype?: string
  /** How the session thread waits: `spin` asks for a while before it sleeps, `follow` goes to the caller's processor, `adaptive` does what pays. */
  wake: 'adaptive' | 'free' | 'follow' | 'spin' | 'yield'
  writeback: 'auto' | 'on' | 'off'
  /** `all`: large files of lowers too; then nothing can be stacked upon the mount (docs/semantics.md). */
  passthrough: 'auto' | 'on' | 'off' | 'all'
  /** Log each request as a line. */
  debug: boolean
  /** File that the daemon's lines go to. */
  log?: string
}

/** Layers do not change under a mount, so the kernel may keep what it knows without end (in practice: 31 years). */
export const DEFAULT_TIMEOUT = 1e9

const DEFAULTS = {
  ephemeral: false,
  unmappedRoot: 'refuse',
  redirect: 'auto',
  metacopy: false,
  index: false,
  volatile: false,
  whiteouts: 'auto',
  xattrs: 'auto',
  override: 'off',
  transport: 'auto',
  timeout: DEFAULT_TIMEOUT,
  wake: 'adaptive',
  writeback: 'auto',
  passthrough: 'auto',
  debug: false,
} as const satisfies Partial<MountOptions>

/** Options being collected: a MountOptions that may still lack anything. */
export type PartialOptions = Partial<MountOptions>

/** A layer as the library takes it: a path alone, or with maps. */
export type LayerInput = string | LayerSpec

/** What the library's `mount` takes. */
export interface MountInput extends Omit<PartialOptions, 'lower' | 'upper'> {
  lower?: LayerInput[]
  upper?: LayerInput
}

/**
 * Fills in the defaults and refuses what does not fit together. The directories themselves are looked at when mounting.
 * @throws LayerfsError USAGE, BAD_MAP
 */
export function withDefaults(input: MountInput): MountOptions {
  const { lower = [], upper, ...rest } = input
  const options: MountOptions = {
    ...DEFAULTS,
    uidmap: [],
    gidmap: [],
    kernelOptions: [],
    mountpoint: '',
    ...rest,
    lower: lower.map(layerOf),
    ...(upper === undefined ? {} : { upper: layerOf(upper) }),
  }
  checkOptions(options)
  return options
}

const layerOf = (layer: LayerInput): LayerSpec => (typeof layer === 'string' ? { path: layer } : layer)

function checkOptions(o: MountOptions): void {
  const usage = (message: string) => new LayerfsError('USAGE', message)
  if (o.mountpoint === '') throw usage('no mountpoint given: end the command with the directory to mount on')
  if (o.lower.length === 0) throw usage('no lower directory given: add at least one --lower DIR')
  if (o.ephemeral && (o.upper !== undefined || o.work !== undefined))
    throw usage('--ephemeral makes an upper of its own: leave out --upper and --work')
  if (o.upper !== undefined && o.work === undefined)
    throw usage('an upper needs a workdir: add --work DIR, an empty directory on the same filesystem')
  if (o.upper === undefined && o.work !== undefined)
    throw usage('a workdir is of no use without an upper: add --upper DIR, or leave out --work')
  for (const layer of [o, ...o.lower, ...(o.upper === undefined ? [] : [o.upper])]) {
    checkIdMap(layer.uidmap ?? [])
    checkIdMap(layer.gidmap ?? [])
  }
  if (!(o.timeout >= 0 && Number.isFinite(o.timeout)))
    throw usage(`bad timeout ${o.timeout}: give seconds, 0 or more`)
}

// How each option reads its value (undefined: given as a bare word) and how it is written back.

interface Row {
  read(into: PartialOptions, value: string, name: string): void
  /** `name=value` texts, not yet escaped for -o; none where the option has its default. */
  write?(from: PartialOptions): string[]
  /** What a bare word means; absent: a value is required. */
  bare?: string
}

function choice<K extends keyof MountOptions>(
  key: K,
  name: string,
  values: Readonly<Record<string, MountOptions[K]>>,
  bare?: string,
): Row {
  return {
    read(into, value) {
      const chosen = values[value]
      if (chosen === undefined || !Object.hasOwn(values, value))
        throw new LayerfsError(
          'USAGE',
          `bad value "${value}" for ${name}: use one of ${Object.keys(values).join(', ')}`,
        )
      into[key] = chosen
    },
    write(from) {
      const text = Object.keys(values).find((v) => values[v] === from[key])
      const isDefault = key in DEFAULTS && DEFAULTS[key as keyof typeof DEFAULTS] === from[key]
      if (text === undefined || isDefault) return []
      return [text === bare ? name : `${name}=${text}`]
    },
    ...(bare === undefined ? {} : { bare }),
  }
}

const same = <T extends string>(...values: T[]): Record<T, T> =>
  Object.fromEntries(values.map((v) => [v, v])) as Record<T, T>
const YES_NO = { on: true, off: false } as const

function numeric(key: 'squashUid' | 'squashGid' | 'timeout', name: string): Row {
  return {
    read(into, value) {
      const ok = key === 'timeout' ? /^\d+(\.\d+)?$/.test(value) : /^\d+$/.test(value)
      if (!ok) throw new LayerfsError('USAGE', `bad value "${value}" for ${name}: a number expected`)
      into[key] = Number(value)
    },
    write: (from) =>
      from[key] === undefined || (key === 'timeout' && from[key] === DEFAULT_TIMEOUT)
        ? []
        : [`${name}=${from[key]}`],
  }
}

const text = (key: 'work' | 'fsname' | 'subtype' | 'log', name: string): Row => ({
  read(into, value) {
    if (value === '') throw new LayerfsError('USAGE', `${name} is empty`)
    into[key] = value
  },
  write: (from) => (from[key] === undefined ? [] : [`${name}=${from[key]}`]),
})

const map = (key: 'uidmap' | 'gidmap'): Row => ({
  read(into, value) {
    const ranges = [...(into[key] ?? []), ...parseIdMap(value)]
    checkIdMap(ranges)
    into[key] = ranges
  },
  write: (from) => (from[key]?.length ? [`${key}=${formatIdMap(from[key])}`] : []),
})

/** Reads `DIR[,uidmap=MAP][,gidmap=MAP]`. @throws LayerfsError USAGE, BAD_MAP */
export function parseLayer(value: string): LayerSpec {
  const [path = '', ...rest] = splitSpec(value)
  if (path === '') throw new LayerfsError('USAGE', `no directory in layer "${value}"`)
  const layer: LayerSpec = { path }
  for (const item of rest) {
    const at = item.indexOf('=')
    const key = item.slice(0, at)
    if (key !== 'uidmap' && key !== 'gidmap')
      throw new LayerfsError(
        'USAGE',
        `unknown "${item}" after layer ${path}: a layer takes uidmap= and gidmap= (write a comma of a path as \\,)`,
      )
    const ranges = [...(layer[key] ?? []), ...parseIdMap(item.slice(at + 1))]
    checkIdMap(ranges)
    layer[key] = ranges
  }
  return layer
}

/** The text that `parseLayer` reads back. */
export function formatLayer(layer: LayerSpec): string {
  const maps = (['uidmap', 'gidmap'] as const).flatMap((key) =>
    layer[key]?.length ? [`,${key}=${formatIdMap(layer[key])}`] : [],
  )
  return escapeSpec(layer.path) + maps.join('')
}

const isBare = (layer: LayerSpec): boolean => !layer.uidmap?.length && !layer.gidmap?.length

const ROWS: ReadonlyMap<string, Row> = new Map(
  Object.entries<Row>({
    lower: {
      read: (into, value) => {
        into.lower = [...(into.lower ?? []), parseLayer(value)]
      },
      write: (from) => (from.lower ?? []).map((layer) => `lower=${formatLayer(layer)}`),
    },
    upper: {
      read: (into, value) => {
        into.upper = parseLayer(value)
      },
      write: (from) => (from.upper === undefined ? [] : [`upper=${formatLayer(from.upper)}`]),
    },
    work: text('work', 'work'),
    ephemeral: choice('ephemeral', 'ephemeral', YES_NO, 'on'),
    uidmap: map('uidmap'),
    gidmap: map('gidmap'),
    'squash-uid': numeric('squashUid', 'squash-uid'),
    'squash-gid': numeric('squashGid', 'squash-gid'),
    'unmapped-root': choice('unmappedRoot', 'unmapped-root', same('refuse', 'adopt')),
    redirect: choice('redirect', 'redirect', same('on', 'follow', 'off', 'auto')),
    metacopy: choice('metacopy', 'metacopy', YES_NO, 'on'),
    index: choice('index', 'index', YES_NO, 'on'),
    volatile: choice('volatile', 'volatile', YES_NO, 'on'),
    whiteouts: choice('whiteouts', 'whiteouts', same('auto', 'overlay', 'oci')),
    xattrs: choice('xattrs', 'xattrs', same('auto', 'trusted', 'user')),
    override: choice('override', 'override', same('off', 'xattr', 'security')),
    transport: choice('transport', 'transport', same('auto', 'kernel', 'fuse-native')),
    timeout: numeric('timeout', 'timeout'),
    fsname: text('fsname', 'fsname'),
    subtype: text('subtype', 'subtype'),
    wake: choice('wake', 'wake', same('adaptive', 'free', 'follow', 'spin', 'yield')),
    writeback: choice('writeback', 'writeback', same('auto', 'on', 'off')),
    passthrough: choice('passthrough', 'passthrough', same('auto', 'on', 'off', 'all')),
    debug: choice('debug', 'debug', YES_NO, 'on'),
    log: text('log', 'log'),
  }),
)

/** Other names for the above, as the kernel's overlayfs and fuse-overlayfs have them. */
const ALIASES: Readonly<Record<string, string>> = {
  'lowerdir+': 'lower',
  workdir: 'work',
  uidmapping: 'uidmap',
  gidmapping: 'gidmap',
  squash_to_uid: 'squash-uid',
  squash_to_gid: 'squash-gid',
  redirect_dir: 'redirect',
}

/** Options of mount(8) and mount.fuse3(8) that pass to the kernel as they are; those with `=` take a value. */
const KERNEL_OPTIONS: ReadonlySet<string> = new Set(
  (
    'allow_other allow_root default_permissions ro rw suid nosuid dev nodev exec noexec atime noatime diratime ' +
    'nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime sync async dirsync ' +
    'max_read= blksize= context= fscontext= defcontext= rootcontext='
  ).split(' '),
)

/** Whether an option word passes to the kernel as it is. */
export const isKernelOption = (name: string, hasValue: boolean): boolean =>
  KERNEL_OPTIONS.has(hasValue ? `${name}=` : name)

/**
 * Sets one option by name. The flags of the command line come through here too.
 * @param value unescaped; undefined for a bare word
 * @throws LayerfsError USAGE that names the nearest known option, BAD_MAP
 */
export function setOption(into: PartialOptions, name: string, value: string | undefined): void {
  const row = ROWS.get(Object.hasOwn(ALIASES, name) ? (ALIASES[name] as string) : name)
  if (row !== undefined) {
    const given = value ?? row.bare
    if (given === undefined) throw new LayerfsError('USAGE', `option ${name} needs a value: ${name}=...`)
    row.read(into, given, name)
  } else if (name === 'userxattr' && value === undefined) into.xattrs = 'user'
  else if (name === 'squash_to_root' && value === undefined) into.squashUid = into.squashGid = 0
  else if (name === 'upperdir' && value) into.upper = { path: value }
  else if (isKernelOption(name, value !== undefined)) {
    const word = value === undefined ? name : `${name}=${value}`
    into.kernelOptions = [...(into.kernelOptions ?? []).filter((o) => o !== word), word]
  } else throw unknown(name)
}

function unknown(name: string): LayerfsError {
  const names = [
    ...ROWS.keys(),
    ...Object.keys(ALIASES).filter((alias) => alias !== 'lowerdir+'),
    'lowerdir',
    'upperdir',
    'userxattr',
    'squash_to_root',
  ]
  const like = nearest(name, [...names, ...[...KERNEL_OPTIONS].map((o) => o.replace('=', ''))])
  const hint = like === undefined ? 'layerfs mount --help lists the options' : `did you mean ${like}?`
  return new LayerfsError('USAGE', `unknown option "${name}": ${hint}`)
}

/**
 * Reads an `-o` string: `lowerdir=A:B,upperdir=U,workdir=W,ro`. A repeated option: the last one counts; `lower`,
 * `lowerdir+` and maps add up.
 * @throws LayerfsError USAGE, BAD_MAP
 */
export function parseOptions(line: string, into: PartialOptions = {}): PartialOptions {
  for (const { name, value, raw } of splitOptions(line)) {
    if (name === 'lowerdir' && raw !== undefined) into.lower = splitPaths(raw).map((path) => ({ path }))
    else setOption(into, name, value)
  }
  return into
}

/** The `name=value` words that differ from the defaults, unescaped and without the mountpoint. */
function optionWords(options: PartialOptions): string[] {
  const rows = [...ROWS].flatMap(([, row]) => row.write?.(options) ?? [])
  return [...rows, ...(options.kernelOptions ?? [])]
}

/** The `-o` string that `parseOptions` reads back. Layers without maps of their own are written as `lowerdir=A:B`. */
export function formatOptions(options: PartialOptions): string {
  const lower = options.lower ?? []
  if (lower.length > 0 && lower.every(isBare)) {
    const { lower: _, ...rest } = options
    const words = [`lowerdir=${joinPaths(lower.map((l) => l.path))}`, ...optionWords(rest).map(escapeOption)]
    return words.join(',')
  }
  return optionWords(options).map(escapeOption).join(',')
}
