/**
 * Writes docs/cli.md and man/layerfs.1 from the commands themselves: `npx tsx scripts/docs-cli.ts`. A test holds
 * that they are current.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { COMMANDS } from '../src/cli/main.js'
import { parser } from '../src/cli/parse.js'
import { KINDS } from '../src/errors.js'

/** What no help text says, as titled paragraphs. Words in backquotes are set apart. */
const NOTES: Readonly<Record<string, readonly string[]>> = {
  'The stack': [
    'The first `--lower` is the topmost, as in `lowerdir=A:B`. Writes go to the upper; lowers are never written. Without `--upper` or `--ephemeral` the mount is read-only.',
    'After `--lower DIR` and `--upper DIR` stand the maps of that layer, separated by commas: `--lower base,uidmap=0:100000:65536,gidmap=0:100000:65536`. A comma or backslash within DIR is written `\\,` and `\\\\`.',
    'The workdir lies on the filesystem of the upper, not within it, and belongs to this upper alone.',
  ],
  'Id maps': [
    'A map is DISK:SHOWN:COUNT: COUNT ids from DISK on in the layer are shown as those from SHOWN on. Several ranges are joined by `:`, or given by repeating the flag. Ranges may overlap on neither side.',
    'Ids without a mapping show as 65534; a write that would store one is refused with EOVERFLOW. Ids in ACLs and in file capabilities are mapped too.',
  ],
  'Options for -o': [
    'Each flag may be given as `-o NAME=VALUE`, a switch as `-o NAME`. Besides: `lowerdir=A:B`, `upperdir=`, `workdir=`, `uidmapping=`, `gidmapping=`, `squash_to_uid=`, `squash_to_gid=`, `squash_to_root`, `redirect_dir=`, `userxattr`, and what passes to the kernel: `ro`, `allow_other`, `noatime`, `nodev`, `nosuid`, `noexec`, `context=` and their like.',
    'Within a path of lowerdir `\\:`, `\\\\:` and `\\134:` are a colon, `\\,` and `\\054` a comma. Empty paths are skipped. The last of a repeated option counts. An unknown option is an error.',
  ],
  'The daemon': [
    '`layerfs mount` returns when the mount can be used. The daemon runs in a session of its own, in `/`, with its standard descriptors closed or, with `--log`, appended to that file.',
    'SIGTERM and SIGINT unmount: what is pending is written, and the daemon exits with 0. While the mount is in use they fail; a second signal detaches it, to go away with its last user.',
    'With `--ready-fd N` the line `ready` is written to descriptor N, which is then closed.',
  ],
  'Names that are not UTF-8': [
    'Within a mount names are bytes of any kind. On the command line, `layerfs which` takes such names; the directories of a stack and mountpoints must be UTF-8 text: give a symbolic link to one that is not.',
  ],
}

const EXIT =
  'The exit code tells the kind of failure; one line on standard error says what is wrong and what to do.'

/** The help of a command, or of all with an empty name. */
async function help(name: string): Promise<string> {
  let text = ''
  await parser([], () => {}).parseAsync([...(name === '' ? [] : [name]), '--help'], {}, (_, __, output) => {
    text = output
  })
  return text.trimEnd()
}

async function helps(): Promise<[name: string, text: string][]> {
  const all: [string, string][] = []
  for (const name of Object.keys(COMMANDS)) all.push([name, await help(name)])
  return all
}

/** docs/cli.md */
export async function markdown(): Promise<string> {
  const code = (text: string) => `\`\`\`\n${text}\n\`\`\``
  const sections = [
    '# The command',
    '<!-- Made by scripts/docs-cli.ts from the commands themselves. -->',
    code(await help('')),
    ...(await helps()).flatMap(([name, text]) => [`## layerfs ${name}`, code(text)]),
    ...Object.entries(NOTES).flatMap(([title, paragraphs]) => [`## ${title}`, ...paragraphs]),
    '## Exit codes',
    `0: done. ${EXIT}`,
    ['| code | kind | meaning |', '|---|---|---|', ...exits().map((row) => `| ${row.join(' | ')} |`)].join(
      '\n',
    ),
  ]
  return `${sections.join('\n\n')}\n`
}

const exits = (): string[][] =>
  Object.entries(KINDS).map(([kind, [exit, means]]) => [String(exit), kind, means])

/** man/layerfs.1: man(7). */
export async function manual(): Promise<string> {
  const lines = [
    '.\\" Made by scripts/docs-cli.ts from the commands themselves.',
    '.TH LAYERFS 1 "" layerfs "User Commands"',
    '.SH NAME',
    'layerfs \\- stacked directories as one writable tree, over FUSE',
    '.SH SYNOPSIS',
    '.B layerfs',
    '.I COMMAND',
    '[\\fIFLAGS\\fR] [\\fIWORDS\\fR]',
    '.SH COMMANDS',
    ...Object.entries(COMMANDS).flatMap(([name, row]) => ['.TP', `.B ${name}`, roff(row.describe)]),
  ]
  for (const [name, text] of await helps())
    lines.push(`.SH ${`layerfs ${name}`.toUpperCase()}`, '.nf', ...text.split('\n').map(roff), '.fi')
  for (const [title, paragraphs] of Object.entries(NOTES))
    lines.push(`.SH ${title.toUpperCase()}`, ...paragraphs.flatMap((p) => ['.PP', bold(roff(p))]))
  lines.push('.SH EXIT STATUS', roff(EXIT), '.TP', '.B 0', 'Done.')
  for (const [exit = '', kind = '', means = ''] of exits())
    lines.push('.TP', `.B ${exit}`, `${kind}: ${roff(means)}`)
  lines.push('.SH SEE ALSO', '.BR fusermount3 (1),', '.BR fuse (4),', '.BR mount (8)')
  return `${lines.join('\n')}\n`
}

/** Text as roff takes it: backslashes, dashes, and a leading dot or quote. */
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1')

const bold = (text: string): string => text.replace(/`([^`]*)`/g, '\\fB$1\\fR')

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  mkdirSync('man', { recursive: true })
  mkdirSync('docs', { recursive: true })
  writeFileSync('docs/cli.md', await markdown())
  writeFileSync('man/layerfs.1', await manual())
}
