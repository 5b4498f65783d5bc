/**
 * The flags of `layerfs mount`, one row each, and a reader that needs no yargs: loading yargs takes as long as the
 * mount itself. yargs gives the help, the completion and the messages from the same rows.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { LayerfsError } from '../errors.js'
import { type MountOptions, type PartialOptions, parseOptions, setOption, withDefaults } from '../options.js'
import { nearest } from '../tokens.js'

export interface Flag {
  /** What the value stands for in the help; absent: a switch. */
  value?: string
  describe: string
  choices?: readonly string[]
  group: 'Stack' | 'Ids' | 'On disk' | 'Mount' | 'Daemon'
  /** May be given more than once. */
  repeat?: true
}

const row = (
  group: Flag['group'],
  value: string | undefined,
  describe: string,
  more: Partial<Flag> = {},
): Flag => ({
  group,
  describe,
  ...(value === undefined ? {} : { value }),
  ...more,
})

/** By name, without the dashes. All but `o`, `foreground` and `ready-fd` are options of `setOption`. */
export const MOUNT_FLAGS: Readonly<Record<string, Flag>> = {
  lower: row(
    'Stack',
    'DIR',
    'a read-only layer, the topmost first; DIR,uidmap=MAP,gidmap=MAP gives it maps of its own',
    {
      repeat: true,
    },
  ),
  upper: row('Stack', 'DIR', 'the layer that takes all writes; without one the mount is read-only'),
  work: row('Stack', 'DIR', 'an empty directory on the filesystem of the upper'),
  ephemeral: row('Stack', undefined, 'write to a temporary upper that is gone at unmount'),
  uidmap: row('Ids', 'MAP', 'show users shifted: DISK:SHOWN:COUNT, several joined by ":"', { repeat: true }),
  gidmap: row('Ids', 'MAP', 'show groups shifted', { repeat: true }),
  'squash-uid': row('Ids', 'UID', 'show every file as owned by this user'),
  'squash-gid': row('Ids', 'GID', 'show every file as owned by this group'),
  'unmapped-root': row(
    'Ids',
    'WHAT',
    "refuse what root makes in a mount that maps its id away, or give it to the map's first owner",
    {
      choices: ['refuse', 'adopt'],
    },
  ),
  override: row('Ids', 'WHERE', 'keep owner and mode in an xattr where the daemon may not set them', {
    choices: ['off', 'xattr', 'security'],
  }),
  redirect: row('On disk', 'MODE', "renames of directories of a lower, as overlayfs's redirect_dir", {
    choices: ['auto', 'on', 'follow', 'off'],
  }),
  metacopy: row('On disk', undefined, 'chmod, chown and the like copy up no data'),
  index: row('On disk', undefined, 'hard links of a lower stay together across mounts'),
  volatile: row('On disk', undefined, 'fsync does nothing; an upper is refused after a crash'),
  whiteouts: row('On disk', 'FORM', 'form of new whiteouts: char 0/0 (overlay) or .wh.NAME (oci)', {
    choices: ['auto', 'overlay', 'oci'],
  }),
  xattrs: row('On disk', 'SPACE', 'namespace of overlay xattrs', { choices: ['auto', 'trusted', 'user'] }),
  o: row(
    'Mount',
    'OPTS',
    'options as mount(8) writes them: lowerdir=A:B,upperdir=U,workdir=W,ro,allow_other',
    {
      repeat: true,
    },
  ),
  transport: row('Mount', 'NAME', 'how the kernel is spoken to', {
    choices: ['auto', 'kernel', 'fuse-native'],
  }),
  timeout: row(
    'Mount',
    'SECONDS',
    'how long the kernel may keep names and attributes; without end by default',
  ),
  fsname: row('Mount', 'NAME', 'the source that /proc/mounts shows'),
  subtype: row('Mount', 'NAME', 'the type that /proc/mounts shows is fuse.NAME'),
  wake: row(
    'Mount',
    'MODE',
    "how the session waits: polling before sleep (spin), on the caller's processor (follow), giving it up to the caller (yield), on any (free), as pays (adaptive)",
    {
      choices: ['adaptive', 'follow', 'spin', 'yield', 'free'],
    },
  ),
  writeback: row('Mount', 'MODE', 'let the kernel gather writes', { choices: ['auto', 'on', 'off'] }),
  passthrough: row(
    'Mount',
    'MODE',
    'let the kernel read and write files without the daemon; all: large files of lowers too, and no overlayfs can be stacked upon the mount',
    { choices: ['auto', 'on', 'off', 'all'] },
  ),
  foreground: row('Daemon', undefined, 'stay in the foreground until unmounted'),
  debug: row('Daemon', undefined, 'log each request as a line'),
  log: row('Daemon', 'FILE', 'append what the daemon has to say to FILE'),
  'ready-fd': row('Daemon', 'N', 'write a line to descriptor N when the mount is ready, then close it'),
}

/** With every path made absolute: the daemon leaves the directory it was started in. */
export const absolute = (o: MountOptions): MountOptions => ({
  ...o,
  mountpoint: resolve(o.mountpoint),
  lower: o.lower.map((layer) => ({ ...layer, path: resolve(layer.path) })),
  ...(o.upper === undefined ? {} : { upper: { ...o.upper, path: resolve(o.upper.path) } }),
  ...(o.work === undefined ? {} : { work: resolve(o.work) }),
  ...(o.log === undefined ? {} : { log: resolve(o.log) }),
})

/** One flag as it was given; `value` is absent for a switch. */
export interface GivenFlag {
  name: string
  value?: string
}

export interface MountCommand {
  options: MountOptions
  foreground: boolean
  readyFd?: number
}

/**
 * What a command line of flags and one mountpoint asks for, its paths made absolute.
 * @throws LayerfsError USAGE, BAD_MAP
 */
export function mountCommand(flags: readonly GivenFlag[], mountpoints: readonly string[]): MountCommand {
  const partial: PartialOptions = {}
  const words: PartialOptions = {}
  let foreground = false
  let readyFd: number | undefined
  for (const { name, value } of flags) {
    if (name === 'o') parseOptions(value ?? '', words)
    else if (name === 'foreground') foreground = true
    else if (name === 'ready-fd') readyFd = descriptor(value ?? '')
    else setOption(partial, name, value)
  }
  if (partial.lower !== undefined && words.lower !== undefined)
    throw new LayerfsError(
      'USAGE',
      'lower directories are given both by --lower and by -o: use one of the two',
    )
  const [mountpoint = '', ...more] = mountpoints
  if (more.length > 0)
    throw new LayerfsError(
      'USAGE',
      `one mountpoint expected, but ${mountpoints.length} given: ${mountpoints.join(' ')}`,
    )
  const named = [mountpoint, partial.work, ...[...(partial.lower ?? []), partial.upper].map((l) => l?.path)]
  for (const path of named)
    if (path?.includes('\ufffd'))
      throw new LayerfsError('USAGE', `${path} is not UTF-8 text: give a symbolic link to it instead`, {
        path,
      })
  return {
    options: absolute(withDefaults({ ...words, ...partial, mountpoint })),
    foreground,
    ...(readyFd === undefined ? {} : { readyFd }),
  }
}

function descriptor(value: string): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) < 1)
    throw new LayerfsError(
      'USAGE',
      `bad value "${value}" for ready-fd: the number of an open descriptor expected`,
    )
  return Number(value)
}

/** Words that ask for text instead of a mount. */
const HELP: ReadonlySet<string> = new Set(['help', 'h', 'version', 'V'])

/**
 * Reads the words after `layerfs mount`.
 * @returns undefined where help is asked for
 * @throws LayerfsError as `mountCommand`
 */
export function readMountFlags(words: readonly string[]): MountCommand | undefined {
  const flags: GivenFlag[] = []
  const mountpoints: string[] = []
  for (const token of tokens(words)) {
    if (token.kind === 'positional') mountpoints.push(token.value)
    if (token.kind !== 'option') continue
    const { name, rawName, value, inlineValue } = token
    const flag = Object.hasOwn(MOUNT_FLAGS, name) ? MOUNT_FLAGS[name] : undefined
    if (flag === undefined) {
      if (HELP.has(name)) return undefined
      throw unknownFlag(rawName, name)
    }
    if (flag.value === undefined && value !== undefined)
      throw new LayerfsError('USAGE', `${rawName} takes no value: write it alone`)
    if (flag.value !== undefined && (value === undefined || (!inlineValue && value.startsWith('-'))))
      throw new LayerfsError('USAGE', `${rawName} needs a value: ${rawName} ${flag.value}`)
    flags.push({ name, ...(value === undefined ? {} : { value }) })
  }
  return mountCommand(flags, mountpoints)
}

function unknownFlag(rawName: string, name: string): LayerfsError {
  const like = nearest(name, Object.keys(MOUNT_FLAGS))
  const hint = like === undefined ? 'see layerfs mount --help' : `did you mean --${like}?`
  return new LayerfsError('USAGE', `unknown argument "${rawName}": ${hint}`)
}

const tokens = (words: readonly string[]) =>
  parseArgs({
    args: [...words],
    allowPositionals: true,
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(MOUNT_FLAGS).map(([name, flag]) => [
        name,
        {
          type: flag.value === undefined ? ('boolean' as const) : ('string' as const),
          ...(name.length === 1 ? { short: name } : {}),
        },
      ]),
    ),
  }).tokens
