/**
 * Mounting by mount(8): it calls `mount.fuse.layerfs SOURCE TARGET [-sfnv] [-N NS] [-o OPTIONS] [-t TYPE]`, and
 * mount.fuse3(8) calls `layerfs SOURCE TARGET -o OPTIONS`. Options are those of `layerfs mount -o`, and as strict,
 * but for the words that are mount(8)'s and systemd's own.
 */
import { absolute, type MountCommand } from '../cli/flags.js'
import { start } from '../cli/start.js'
import { type ErrorCode, LayerfsError } from '../errors.js'
import { type MountOptions, type PartialOptions, setOption, withDefaults } from '../options.js'
import { type OptionWord, splitOptions, splitPaths } from '../tokens.js'

const PROGRAM = 'mount.fuse.layerfs'

export interface HelperCall {
  options: MountOptions
  /** `-f` of mount(8): all but the mounting. */
  fake: boolean
}

/** Words of fstab(5) that concern mount(8), systemd.mount(5) or the user who may mount. */
const TOLERATED =
  /^(defaults|auto|noauto|nofail|user|users|nouser|owner|group|_netdev|(user|uhelper|helper|comment)=.*|[xX]-.*)$/s

/** Whether words after `layerfs` are a call by mount.fuse3(8): a source, a mountpoint, options. */
export const isHelperCall = (words: readonly string[]): boolean =>
  words.length >= 3 &&
  words.slice(0, 2).every((word) => word !== '' && !word.startsWith('-')) &&
  (words[2] as string).startsWith('-o')

/** What a helper is given, in parts. */
interface Words {
  source: string
  mountpoint: string
  options: OptionWord[]
  subtype: string | undefined
  switches: ReadonlySet<string>
}

function readWords(argv: readonly string[]): Words {
  const positionals: string[] = []
  const options: OptionWord[] = []
  const switches = new Set<string>()
  let subtype: string | undefined
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string
    if (!word.startsWith('-')) positionals.push(word)
    else if (/^-[otN]/.test(word)) {
      const value = word.length > 2 ? word.slice(2) : argv[++i]
      if (value === undefined) throw new LayerfsError('USAGE', `missing argument after ${word}`)
      if (word.startsWith('-o')) options.push(...splitOptions(value))
      if (word.startsWith('-t')) subtype = value.replace(/^fuse3?\./, '')
    } else if (/^-[sfnvrw]+$/.test(word)) for (const letter of word.slice(1)) switches.add(letter)
    else throw new LayerfsError('USAGE', `unknown argument "${word}": mount(8) lists what a helper is given`)
  }
  const [source, mountpoint, ...more] = positionals
  if (source === undefined || mountpoint === undefined || more.length > 0)
    throw new LayerfsError(
      'USAGE',
      'a source and a mountpoint expected: mount -t fuse.layerfs none MOUNTPOINT -o ...',
    )
  return { source, mountpoint, options, subtype, switches }
}

/** @throws LayerfsError USAGE, BAD_MAP */
export const readHelperCall = (argv: readonly string[]): HelperCall => callOf(readWords(argv))

function callOf(words: Words): HelperCall {
  const { source, mountpoint, subtype, switches } = words
  const into: PartialOptions = subtype === undefined ? {} : { subtype }
  for (const option of words.options) set(into, option)
  if (switches.has('r')) setOption(into, 'ro', undefined)
  // libmount tells by source and mountpoint whether a line of fstab is mounted.
  return { options: absolute(withDefaults({ fsname: source, ...into, mountpoint })), fake: switches.has('f') }
}

function set(into: PartialOptions, { name, value, raw }: OptionWord): void {
  if (name === 'lowerdir' && raw !== undefined) into.lower = splitPaths(raw).map((path) => ({ path }))
  else if (!TOLERATED.test(value === undefined ? name : `${name}=${value}`)) setOption(into, name, value)
}

/** What a call is to mount; undefined where it is of another kind: a remount, or one that is to change nothing. @throws as readHelperCall */
export function helperCommand(argv: readonly string[]): MountCommand | undefined {
  const words = readWords(argv)
  return isRemount(words) ? undefined : commandOf(words)
}

function commandOf(words: Words): MountCommand | undefined {
  const { options, fake } = callOf(words)
  return fake ? undefined : { options, foreground: false }
}

const isRemount = ({ options }: Words): boolean => options.some(({ name }) => name === 'remount')

/** Mounts as asked, or changes the flags of a mount. @returns the exit code. @throws LayerfsError */
export async function mountAsHelper(argv: readonly string[]): Promise<number> {
  const words = readWords(argv)
  if (isRemount(words)) {
    const { mountpoint, options, switches } = words
    // Among the words is all that the kernel shows of the mount; what are no flags stays as it is.
    const flags = options.filter(({ value }) => value === undefined).map(({ name }) => name)
    const { remount } = await import('../fuse/mount.js')
    if (!switches.has('f')) remount(mountpoint, switches.has('r') ? [...flags, 'ro'] : flags)
    return 0
  }
  const asked = commandOf(words)
  return asked === undefined ? 0 : start(asked)
}

const INVOCATION: ReadonlySet<ErrorCode> = new Set(['USAGE', 'BAD_MAP'])

/** mount(8): 1, incorrect invocation; 32, mount failure. */
export const helperExitCode = (error: unknown): number =>
  error instanceof LayerfsError && INVOCATION.has(error.code) ? 1 : 32

/** The command `mount.fuse.layerfs`: runs and sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    process.exitCode = await mountAsHelper(argv)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    process.stderr.write(`${PROGRAM}: ${message.replaceAll('\n', ' ')}\n`)
    process.exitCode = helperExitCode(error)
  }
}
