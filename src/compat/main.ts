/**
 * The command `fuse-layerfs`: called as fuse-overlayfs is, by container engines and by hand. What it does not know it
 * tells and ignores; `layerfs mount` is the strict one.
 */
import { absolute, type MountCommand } from '../cli/flags.js'
import { version } from '../cli/version.js'
import { compatOptions } from './options.js'
import { type CompatWords, readWords } from './words.js'

const PROGRAM = 'fuse-layerfs'

const HELP = `usage: ${PROGRAM} [options] <mountpoint>

    -h   --help            print help
    -V   --version         print version
    -d   -o debug          log each request (implies -f)
    -f                     foreground operation
    -s                     accepted: requests are always served one at a time
    -o OPTIONS             as fuse-overlayfs has them; see docs/recipes.md

    -o lowerdir=DIR[:DIR]...           read-only layers, the topmost first
    -o upperdir=DIR,workdir=DIR        where changes go; without them the mount is read-only
    -o uidmapping=DISK:SHOWN:COUNT...  owners shifted, with gidmapping= for groups
    -o squash_to_root, squash_to_uid=UID, squash_to_gid=GID
    -o xattr_permissions=0|1|2         keep owner and mode in an xattr
    -o volatile                        fsync does nothing; refused after a crash
    -o timeout=SECONDS                 how long the kernel may keep names and attributes
    -o redirect_dir=on|off             rename directories of lower layers (off)
`

/** Runs the command line and sets the exit code: 0 once mounted, else 1 with one line on standard error. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    process.exitCode = await run(argv)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    process.stderr.write(`${PROGRAM}: ${message.replaceAll('\n', ' ')}\n`)
    process.exitCode = 1
  }
}

/** What words that do not ask for text ask for, and what is to be said of them. @throws LayerfsError */
export function compatCommand(words: CompatWords): MountCommand & { said: string[] } {
  const { options, ignored } = compatOptions(words)
  return {
    options: absolute(options),
    foreground: words.foreground || options.debug,
    said: ignored.map((word) => `unknown argument ignored: ${word}`),
  }
}

async function run(argv: readonly string[]): Promise<number> {
  const words = readWords(argv)
  if (words.help) process.stdout.write(HELP)
  if (words.version) process.stdout.write(`${PROGRAM}: version ${version()}\n`)
  if (words.help || words.version) return 0
  const { said, ...command } = compatCommand(words)
  for (const line of said) process.stderr.write(`${line}\n`)
  const { start } = await import('../cli/start.js')
  return start(command)
}
