/** `layerfs run`: a program in a mount of its own, whose changes are dropped unless they are asked for. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, realpathSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Argv } from 'yargs'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import { parseLayer } from '../options.js'
import { type Fixture, fixture } from '../testing/fixture.js'
import { type Command, flagOf, optionalOf, type Words } from './command.js'
import { valuesOf } from './layers.js'

/** Passed on as they come. */
const SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const
/** A terminal sends these to the program itself too. */
const TERMINAL_SIGNALS = ['SIGINT', 'SIGQUIT'] as const
/** What env(1) exits with where the program cannot be run, or is not there. */
const CANNOT_RUN = 126
const NO_PROGRAM = 127

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 run [--lower DIR...] [--over PATH] [--keep | --commit DIR] [--diff] -- PROGRAM [WORDS]\n\nRuns PROGRAM in a mount of the lowers, and drops what it changes. Exits with its exit code, or with 128 and the number of the signal that ended it.',
      )
      .parserConfiguration({
        'populate--': true,
        'parse-positional-numbers': false,
        'boolean-negation': false,
        'camel-case-expansion': false,
        'dot-notation': false,
      })
      .options({
        lower: { type: 'string', requiresArg: true, describe: 'DIR: a layer, the topmost first' },
        over: {
          type: 'string',
          requiresArg: true,
          describe:
            'PATH: PROGRAM, started here, finds the mount there, and nobody else does; without --lower it is the layer',
        },
        keep: { type: 'boolean', describe: 'keep the changes as a layer, and tell where' },
        commit: {
          type: 'string',
          requiresArg: true,
          describe: 'DIR: make the changes this layer, if PROGRAM exits with 0',
        },
        diff: { type: 'boolean', describe: 'tell on standard error what PROGRAM has changed' },
      })
      .conflicts({ keep: 'commit' })
      .example('$0 run --lower project --diff -- make', 'what does make write?')
      .example('$0 run --over /etc --commit new-etc -- ./setup', 'a program with fixed paths'),
  run: async (words) => {
    const program = valuesOf(words, '--')
    if (program.length === 0)
      throw new LayerfsError('USAGE', 'no program given: end the command with -- PROGRAM')
    const over = overOf(words)
    const lower = valuesOf(words, 'lower')
    if (lower.length === 0 && over === undefined)
      throw new LayerfsError('USAGE', 'no lower directory given: add --lower DIR, or --over PATH')
    const target = optionalOf(words, 'commit')
    if (target !== undefined && existsSync(target))
      throw new LayerfsError('ALREADY_EXISTS', `${target} exists: choose another name`, { path: target })
    // From here on the program's end is ours: a signal must not leave it without its mount.
    const signals = new Signals()
    const mounted = await fixture({
      lower: lower.length > 0 ? lower.map(parseLayer) : { path: over as string },
    })
    try {
      const code = await runIn(mounted.path, over, program, signals)
      if (flagOf(words, 'diff')) await tell(mounted)
      if (flagOf(words, 'keep'))
        await keep(mounted, join(mkdtempSync(join(tmpdir(), 'layerfs-run-')), 'layer'))
      if (target !== undefined && code === 0) await mounted.commit(target)
      else if (target !== undefined) say(`${target} is not made: ${program[0]} exited with ${code}`)
      return code
    } finally {
      await mounted.unmount()
    }
  },
}

function overOf(words: Words): string | undefined {
  const path = optionalOf(words, 'over')
  try {
    return path === undefined ? undefined : realpathSync(path)
  } catch (error) {
    const errno = errnoOf(error) ?? 0
    throw new LayerfsError('NO_SUCH_DIRECTORY', `cannot mount over ${path}: ${errnoText(errno)}`, { errno })
  }
}

const say = (line: string): void => {
  process.stderr.write(`layerfs: ${line}\n`)
}

async function tell(mounted: Fixture): Promise<void> {
  const changes = await mounted.diff()
  for (const { path, change } of changes) process.stderr.write(`${change} /${path.replaceAll('\n', '\\n')}\n`)
}

async function keep(mounted: Fixture, layer: string): Promise<void> {
  await mounted.commit(layer)
  say(`the changes are kept in ${layer}`)
}

/** Binds the mount over a path where only the program sees it: $1 is the mount, $2 the path, $3 where to start. */
const BIND = 'mount --bind -- "$1" "$2" && cd -- "$3" && shift 3 && exec'

/** The words that run a program with a mount over a path, in a mount namespace of its own: unshare(1). */
function overWords(mountpoint: string, path: string, program: readonly string[]): string[] {
  const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0]
  const words = (script: string): string[] => [
    'sh',
    '-c',
    script,
    'layerfs',
    mountpoint,
    path,
    process.cwd(),
    ...program,
  ]
  if (uid === 0) return ['unshare', '--mount', ...words(`${BIND} "$@"`)]
  // Mounting takes root of a user namespace; within it a second one gives the user's own ids back.
  const back = `unshare --user --map-user=${uid} --map-group=${gid} -- "$@"`
  return ['unshare', '--user', '--map-root-user', '--mount', ...words(`${BIND} ${back}`)]
}

/** Takes the signals of this process for a program: those that come before it is there reach it as it starts. */
class Signals {
  private readonly early: NodeJS.Signals[] = []
  private child: ChildProcess | undefined

  constructor() {
    for (const signal of [...SIGNALS, ...TERMINAL_SIGNALS]) process.on(signal, this.pass)
  }

  private readonly pass = (signal: NodeJS.Signals): void => {
    const seen = TERMINAL_SIGNALS.some((s) => s === signal) && process.stdin.isTTY === true
    if (this.child === undefined) this.early.push(signal)
    else if (!seen) this.child.kill(signal)
  }

  to(child: ChildProcess): void {
    this.child = child
    for (const signal of this.early.splice(0)) child.kill(signal)
  }

  leave(): void {
    for (const signal of [...SIGNALS, ...TERMINAL_SIGNALS]) process.off(signal, this.pass)
  }
}

/** @returns the exit code, as a shell tells it */
function runIn(
  mountpoint: string,
  over: string | undefined,
  program: readonly string[],
  signals: Signals,
): Promise<number> {
  const [file = '', ...args] = over === undefined ? program : overWords(mountpoint, over, program)
  const child = spawn(file, args, { cwd: over === undefined ? mountpoint : '/', stdio: 'inherit' })
  signals.to(child)
  return new Promise<number>((resolve) => {
    child.once('error', (error) => {
      const errno = errnoOf(error) ?? 0
      say(`cannot run ${file}: ${errnoText(errno)}`)
      resolve(errno === constants.errno.ENOENT ? NO_PROGRAM : CANNOT_RUN)
    })
    child.once('close', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    )
  }).finally(() => signals.leave())
}
