/** `layerfs host`: one process that serves the mounts which others ask for. */
import { compatCommand } from '../compat/main.js'
import { exitCodeOf } from '../errors.js'
import { keepThreads, prepareThread } from '../fuse/thread.js'
import { type Mount, mount } from '../mount.js'
import { type Call, Calls } from './calls.js'
import { type Command, print } from './command.js'
import { type MountCommand, readMountFlags } from './flags.js'
import { lineOf } from './report.js'
import { compileSoon } from './tiering.js'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** What a call asks for, and what is to be said of it; undefined where it is for a process of its own. */
function read({ cwd, program, words }: Call): { asked: MountCommand; said: string[] } | undefined {
  process.chdir(cwd)
  try {
    if (program === 'layerfs') {
      const asked = readMountFlags(words.slice(1))
      return asked === undefined ? undefined : { asked, said: [] }
    }
    const { command, said } = compatCommand(words)
    return { asked: command, said }
  } finally {
    process.chdir('/')
  }
}

class Host {
  private readonly mounts = new Set<Mount>()

  /** Mounts what a launcher asks for, and has it end. */
  async take(call: Call): Promise<void> {
    try {
      const understood = read(call)
      const { asked, said = [] } = understood ?? {}
      if (
        asked === undefined ||
        asked.foreground ||
        asked.readyFd !== undefined ||
        asked.options.transport === 'fuse-native'
      ) {
        call.answer('own')
        return
      }
      const mounted = await mount(asked.options)
      // The next one finds a thread that has loaded the engine.
      prepareThread()
      compileSoon()
      this.mounts.add(mounted)
      void mounted.closed.then(() => this.mounts.delete(mounted))
      if (!call.answer(0, said)) await mounted.unmount()
    } catch (error) {
      const isCompat = call.program !== 'layerfs'
      call.answer(isCompat ? 1 : exitCodeOf(error), [`${call.program}: ${lineOf(error)}`])
    }
  }

  async end(lazy: boolean): Promise<void> {
    for (const mounted of this.mounts)
      await mounted.unmount({ lazy }).catch((error: unknown) => {
        process.stderr.write(`layerfs: ${lineOf(error)}\n`)
      })
  }

  get isEmpty(): boolean {
    return this.mounts.size === 0
  }

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
        '$0 host\n\nStays in the foreground and serves what `layerfs mount` and `fuse-layerfs` ask for, for this user and in these namespaces: a mount is ready sooner, takes less memory, and code that is compiled stays so. At SIGTERM it unmounts all; what is in use then ends with its last user, or at a second SIGTERM is detached.',
      )
      .example('$0 host &', 'from now on mounts have no daemon of their own'),
  run,
}
