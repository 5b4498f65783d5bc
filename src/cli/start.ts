/** Starts a mount: in the background through the daemon, or here. */
import { spawn } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { errnoOf, errnoText, exitCodeOf, LayerfsError } from '../errors.js'
import type { MountOptions } from '../options.js'
import { exitNow } from '../sys/thread.js'
import type { Answer } from './daemon.js'
import type { MountCommand } from './flags.js'
import { Launcher } from './launcher.js'

/**
 * Mounts. Returns when the mount is ready, or with `foreground` when it is gone.
 * @returns the exit code. @throws LayerfsError
 */
export async function start(asked: MountCommand): Promise<number> {
  const { options, readyFd } = asked
  const launcher = Launcher.take()
  if (launcher !== undefined && !asked.foreground) return becomeDaemon(launcher, options, readyFd)
  if (!asked.foreground) {
    await background(options)
    if (readyFd !== undefined) tellReady(readyFd)
    return 0
  }
  const { serve } = await import('./serve.js')
  const { ended } = await serve(options)
  if (readyFd !== undefined) tellReady(readyFd)
  await ended
  return 0
}

/** A line and the end of the file: what readers of either kind wait for. */
function tellReady(fd: number): void {
  try {
    writeSync(fd, 'ready\n')
    closeSync(fd)
  } catch (error) {
    const errno = errnoOf(error) ?? 0
    throw new LayerfsError(
      'IO',
      `the mount is ready, but --ready-fd ${fd} cannot be written: ${errnoText(errno)}`,
    )
  }
}

/** Mounts in this process, which goes on without its launcher from then. Returns when the mount is gone. */
async function becomeDaemon(
  launcher: Launcher,
  options: MountOptions,
  readyFd: number | undefined,
): Promise<number> {
  if (options.log !== undefined) closeSync(openLog(options.log))
  // Before the session's thread has a working directory of its own.
  process.chdir('/')
  const { serve } = await import('./serve.js')
  const limit = setTimeout(() => {
    process.stderr.write(`layerfs: ${lateText(options)}\n`)
    exitNow(exitCodeOf(new LayerfsError('DAEMON_FAILED', '')))
  }, READY_MS)
  const { mounted, ended } = await serve(options).finally(() => clearTimeout(limit))
  try {
    if (readyFd !== undefined) tellReady(readyFd)
    launcher.leave(options.log)
  } catch (error) {
    await mounted.unmount()
    throw error
  }
  await ended
  process.exit(0)
}

const lateText = (options: MountOptions): string =>
  `the mount was not ready within ${READY_MS / 1000} s, so it was given up: does a layer's filesystem answer? ${adviceFor(options)}`

const adviceFor = ({ log }: MountOptions): string =>
  log === undefined ? 'add --foreground or --log FILE to see why' : `its last words are in ${log}`

const DAEMON = fileURLToPath(new URL('./daemon.js', import.meta.url))

/** A layer's filesystem that answers slower than this in all is taken for one that does not, milliseconds. */
const READY_MS = 60_000

/** A session of its own (setsid), no terminal, no descriptor of ours but the log and the socket of the options. */
async function background(options: MountOptions): Promise<void> {
  const log = options.log === undefined ? 'ignore' : openLog(options.log)
  const daemon = spawn(process.execPath, [DAEMON], {
    detached: true,
    stdio: ['ignore', log, log, 'pipe'],
    // As in bin/layerfs: Node would read these at its start.
    env: { ...process.env, NODE_EXTRA_CA_CERTS: undefined },
  })
  if (typeof log === 'number') closeSync(log)
  const ended = new Promise<string>((resolve) => {
    daemon.on('error', (error) => resolve(`it could not be started: ${error.message}`))
    daemon.on('exit', (code, signal) =>
      resolve(signal === null ? `it exited with ${code}` : `${signal} ended it`),
    )
  })
  const socket = daemon.stdio[3] as Socket
  let late = false
  const limit = setTimeout(() => {
    late = true
    daemon.kill('SIGKILL')
  }, READY_MS)
  const answer = await converse(socket, JSON.stringify(options))
  clearTimeout(limit)
  if (answer === undefined)
    throw new LayerfsError(
      'DAEMON_FAILED',
      late
        ? lateText(options)
        : `the daemon ended before the mount was ready (${await ended}): ${adviceFor(options)}`,
    )
  if (!answer.ready) {
    const { code = 'INTERNAL', message = 'the mount failed', errno, path } = answer
    throw new LayerfsError(code, message, {
      ...(errno === undefined ? {} : { errno }),
      ...(path === undefined ? {} : { path }),
    })
  }
  daemon.unref()
}

/** @throws LayerfsError IO */
export function openLog(path: string): number {
  try {
    return openSync(path, 'a', 0o640)
  } catch (error) {
    const errno = errnoOf(error) ?? 0
    throw new LayerfsError('IO', `cannot write the log ${path}: ${errnoText(errno)}`, { errno, path })
  }
}

/** Sends the options and reads the answer; undefined where the daemon went away without one. */
async function converse(socket: Socket, options: string): Promise<Answer | undefined> {
  let text = ''
  socket.setEncoding('utf8')
  // A daemon that is gone before it has read its options: the missing answer tells it.
  socket.on('error', () => {})
  socket.end(options)
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('close', () => resolve())
  })
  return text === '' ? undefined : (JSON.parse(text) as Answer)
}
