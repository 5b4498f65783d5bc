/** `layerfs host`: one process that serves the mounts which others ask for. */
import { closeSync } from 'node:fs'
import { helperCommand, helperExitCode } from '../compat/helper.js'
import { compatCommand } from '../compat/main.js'
import { readWords } from '../compat/words.js'
import { exitCodeOf } from '../errors.js'
import { keepThreads, prepareThread } from '../fuse/thread.js'
import { type Mount, mount } from '../mount.js'
import type { MountOptions } from '../options.js'
import { type Call, Calls } from './calls.js'
import { type Command, print } from './command.js'
import { type MountCommand, readMountFlags } from './flags.js'
import { lineOf } from './report.js'
import { SIGNALS } from './serve.js'
import { openLog } from './start.js'
import { compileSoon } from './tiering.js'

interface Asked extends MountCommand {
  /** Lines for who asks, though all is well. */
  said: string[]
}

/**
 * What a call asks for; undefined where it takes a process of its own.
 * @throws LayerfsError for words that are wrong
 */
function read({ cwd, program, words }: Call): Asked | undefined {
  try {
    process.chdir(cwd)
  } catch {
    return undefined
  }
  try {
    const asked = commandOf(program, words)
    if (asked === undefined || asked.foreground || asked.readyFd !== undefined) return undefined
    return asked.options.transport === 'fuse-native' ? undefined : { said: [], ...asked }
  } finally {
    process.chdir('/')
  }
}

function commandOf(program: string, words: readonly string[]): MountCommand | Asked | undefined {
  if (program === 'fuse-layerfs') return compatCommand(readWords(words))
  return program === 'layerfs' && words[0] === 'mount' ? readMountFlags(words.slice(1)) : helperCommand(words)
}

const EXIT_CODES: Readonly<Record<string, (error: unknown) => number>> = {
  layerfs: exitCodeOf,
  'mount.fuse.layerfs': helperExitCode,
  'fuse-layerfs': () => 1,
}

class Host {
  private readonly mounts = new Set<Mount>()

  /** Does what a launcher asks for, and has it end. */
  async take(call: Call): Promise<void> {
    try {
      const asked = read(call)
      if (asked === undefined) {
        call.answer('own')
        return
      }
      const mounted = await this.mount(asked.options)
      if (!call.answer(0, asked.said)) await mounted.unmount()
    } catch (error) {
      const exitCode = EXIT_CODES[call.program]?.(error) ?? exitCodeOf(error)
      call.answer(exitCode, [`${call.program}: ${lineOf(error)}`])
    }
  }

  private async mount(options: MountOptions): Promise<Mount> {
    if (options.log !== undefined) closeSync(openLog(options.log))
    const mounted = await mount(options)
    this.mounts.add(mounted)
    void mounted.closed.then(() => this.mounts.delete(mounted))
    // The next one finds a thread that has loaded the engine.
    prepareThread()
    compileSoon()
    return mounted
  }

  /** Unmounts all. What is in use stays, unless `lazy`. */
  async end(lazy: boolean): Promise<void> {
    for (const mounted of this.mounts)
      await mounted.unmount({ lazy }).catch((error: unknown) => {
        process.stderr.write(`layerfs: ${lineOf(error)}\n`)
      })
  }

  /** Once the last mount is gone. */
  async settled(): Promise<void> {
    while (this.mounts.size > 0) await Promise.all([...this.mounts].map((mounted) => mounted.closed))
  }
}

async function run(): Promise<number> {
  const host = new Host()
  const calls = Calls.open((call) => void host.take(call))
  keepThreads()
  prepareThread()
  process.chdir('/')
  process.title = 'layerfs-host'
  print(`mounts of this user are made by this process (${process.pid}) until it ends`)
  await new Promise<void>((resolve) => {
    let signals = 0
    for (const signal of SIGNALS)
      process.on(signal, () => {
        calls.close()
        void host.end(++signals > 1).then(resolve)
      })
  })
  await host.settled()
  process.exit(0)
}

export const command: Command = {
  build: (yargs) =>
    yargs
      .usage(
        '$0 host\n\nStays in the foreground and serves what `layerfs mount`, `fuse-layerfs` and mount(8) ask for, for this user and in these namespaces: a mount is ready sooner, takes less memory, and code that is compiled stays so. At SIGTERM it unmounts all; what is in use then ends with its last user, or at a second SIGTERM is detached.',
      )
      .example('$0 host &', 'from now on mounts have no daemon of their own'),
  run,
}
