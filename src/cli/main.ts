/**
 * The command `layerfs`: a table of commands, each loaded only when it is called. `mount`, and `export` in its plain form,
 * go ahead without yargs, which takes longer to load than the mount to make, and gives their help and completion.
 */
import { mustBeLinux } from '../platform.js'
import type { Command } from './command.js'
import { readMountFlags } from './flags.js'
import { type PlainFlags, plainWords } from './plain.js'
import { report } from './report.js'

interface Row {
  /** Name, positionals: in yargs's notation. */
  usage: string
  describe: string
  load(): Promise<Command>
}

export const COMMANDS: Readonly<Record<string, Row>> = {
  mount: {
    usage: 'mount <mountpoint>',
    describe: 'mount stacked layers as one tree',
    load: async () => (await import('./mount.js')).command,
  },
  umount: {
    usage: 'umount [mountpoint]',
    describe: 'unmount, and wait until all is written',
    load: async () => (await import('./umount.js')).command,
  },
  host: {
    usage: 'host',
    describe: 'serve the mounts of this user from one process',
    load: async () => (await import('./host.js')).command,
  },
  list: {
    usage: 'list',
    describe: 'list the mounts of layerfs',
    load: async () => (await import('./list.js')).command,
  },
  run: {
    usage: 'run',
    describe: 'run a program in a mount of its own, whose changes are dropped',
    load: async () => (await import('./run.js')).command,
  },
  which: {
    usage: 'which <path>',
    describe: 'tell which layer provides a file',
    load: async () => (await import('./which.js')).command,
  },
  stats: {
    usage: 'stats <mountpoint>',
    describe: 'tell what a mount has done and what it holds',
    load: async () => (await import('./stats.js')).command,
  },
  doctor: {
    usage: 'doctor',
    describe: 'tell what this machine offers, and what to do about the rest',
    load: async () => (await import('./doctor.js')).command,
  },
  export: {
    usage: 'export <paths..>',
    describe: 'make the tree of a stack a directory of its own, by hard links',
    load: async () => (await import('./export.js')).command,
  },
  verify: {
    usage: 'verify <manifest> <dir>',
    describe: 'check a directory against a manifest',
    load: async () => (await import('./verify.js')).command,
  },
  diff: {
    usage: 'diff [mountpoint]',
    describe: 'tell what an upper changes, or one stack against another',
    load: async () => (await import('./diff.js')).command,
  },
  commit: {
    usage: 'commit <upper> <layer>',
    describe: 'freeze an upper into a layer',
    load: async () => (await import('./commit.js')).command,
  },
  squash: {
    usage: 'squash <paths..>',
    describe: 'make several layers one',
    load: async () => (await import('./squash.js')).command,
  },
  convert: {
    usage: 'convert <dir> [out]',
    describe: "bring a layer's whiteouts into the other form",
    load: async () => (await import('./convert.js')).command,
  },
}

const PLAIN_EXPORT: PlainFlags = { valued: ['lower', 'upper'], bare: ['json', 'into'], positionals: 'paths' }

/** Runs the command line and sets the exit code. */
export const main = (words: readonly string[]): Promise<void> => report(() => dispatch(words))

async function dispatch(words: readonly string[]): Promise<number> {
  mustBeLinux()
  if (words[0] === 'mount') {
    const asked = readMountFlags(words.slice(1))
    if (asked !== undefined) return (await import('./start.js')).start(asked)
  }
  if (words[0] === 'export') {
    const plain = plainWords(words.slice(1), PLAIN_EXPORT)
    if (plain !== undefined) return (await import('./export.js')).runExport(plain)
  }
  if (!Object.hasOwn(COMMANDS, words[0] ?? '')) {
    const { isHelperCall, mountAsHelper } = await import('../compat/helper.js')
    if (isHelperCall(words)) return mountAsHelper(words)
  }
  const { parse } = await import('./parse.js')
  return parse(words)
}
