/**
 * How a launcher's shell (bin/launch.sh) asks a host to mount. A shell can write to a FIFO and take a signal, so: the words lie in a
 * file `call-PID`, the shell's PID goes into the host's FIFO, and SIGUSR1 is the answer. Where there is more to say than that
 * all is well, it is in that file then: a line with the exit code, and lines for standard error.
 */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { ENXIO } from '../abi/linux.js'
import { errnoOf, LayerfsError } from '../errors.js'
import { geteuid } from '../sys/thread.js'

/** What a launcher was called with. */
export interface Call {
  cwd: string
  program: string
  words: readonly string[]
  /**
   * Has the launcher end.
   *
   * @param code its exit code; `own`: it has to start a process of its own for this
   * @returns false where it has ended already: nobody wants the mount
   */
  answer(code: number | 'own', said?: readonly string[]): boolean
}

/**
 * The directory in which launchers look for hosts, made where it is not there.
 * @throws LayerfsError ACCESS_DENIED where it is not this user's alone, UNSUPPORTED where there is no place for it
 */
function place(): string {
  const isRoot = statSync('/run', { throwIfNoEntry: false })?.uid === geteuid()
  const under = isRoot ? '/run' : process.env.XDG_RUNTIME_DIR
  if (under === undefined || under === '')
    throw new LayerfsError(
      'UNSUPPORTED',
      'XDG_RUNTIME_DIR is not set: set it to a directory of this user alone',
    )
  const path = join(under, 'layerfs')
  mkdirSync(path, { mode: 0o700, recursive: true })
  const at = lstatSync(path)
  if (!at.isDirectory() || at.uid !== geteuid() || (at.mode & 0o077) !== 0)
    throw new LayerfsError('ACCESS_DENIED', `${path} must be a directory of this user alone: chmod 700 it`, {
      path,
    })
  return path
}

const NAMESPACES = ['mnt', 'user', 'pid'] as const

const isSame = (a: string, b: string): boolean => {
  const [one, other] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }))
  return one !== undefined && other !== undefined && one.dev === other.dev && one.ino === other.ino
}

/** The process that has a FIFO of this directory open; undefined where it has ended. */
function hostOf(dir: string, name: string): number | undefined {
  const [, pid, fd] = /^(\d+)\.(\d+)$/.exec(name) ?? []
  return pid !== undefined && isSame(`/proc/${pid}/fd/${fd}`, join(dir, name)) ? Number(pid) : undefined
}

/** Removes what a host or a launcher that was killed has left. */
function removeLeft(dir: string, name: string): void {
  const path = join(dir, name)
  const [, pid] = /^(?:call|new)-(\d+)/.exec(name) ?? []
  if (pid === undefined ? isUnheard(path) : startOf(Number(pid)) === undefined) rmSync(path, { force: true })
}

/** Whether no process, of this PID namespace or another, has a FIFO open to read. */
function isUnheard(fifo: string): boolean {
  try {
    closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW))
    return false
  } catch (error) {
    return errnoOf(error) === ENXIO
  }
}

/** When a process that runs started, in ticks since the machine did: with its number it tells it from all others. */
function startOf(pid: number): string | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')
    return fields?.[0] === 'Z' ? undefined : fields?.[19]
  } catch {
    return undefined
  }
}

export class Calls {
  private readonly socket: Socket

  private constructor(
    private readonly path: string,
    readonly dir: string,
    fd: number,
    onCall: (call: Call) => void,
  ) {
    this.socket = new Socket({ fd, readable: true, writable: false })
    let text = ''
    this.socket.on('data', (chunk) => {
      const lines = (text + chunk.toString('latin1')).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        const call = /^\d+$/.test(line) ? this.read(Number(line)) : undefined
        if (call !== undefined) onCall(call)
      }
    })
  }

  /** @throws LayerfsError ALREADY_EXISTS where a host answers the same launchers; as `place` */
  static open(onCall: (call: Call) => void): Calls {
    const dir = place()
    for (const name of readdirSync(dir)) {
      const pid = hostOf(dir, name)
      if (pid === undefined) removeLeft(dir, name)
      else if (NAMESPACES.every((ns) => isSame(`/proc/${pid}/ns/${ns}`, `/proc/self/ns/${ns}`)))
        throw new LayerfsError('ALREADY_EXISTS', `a host runs here already (pid ${pid}): end that one first`)
    }
    const made = join(dir, `new-${process.pid}`)
    execFileSync('mkfifo', ['-m', '600', made])
    const fd = openSync(made, constants.O_RDWR | constants.O_NONBLOCK)
    const path = join(dir, `${process.pid}.${fd}`)
    renameSync(made, path)
    return new Calls(path, dir, fd, onCall)
  }

  private read(pid: number): Call | undefined {
    const file = join(this.dir, `call-${pid}`)
    const start = startOf(pid)
    if (start === undefined) {
      rmSync(file, { force: true })
      return undefined
    }
    let all: string[]
    try {
      all = readFileSync(file, 'utf8').split('\0')
    } catch {
      return undefined
    }
    const [cwd = '', program = '', ...words] = all.slice(0, -1)
    return {
      cwd,
      program,
      words,
      answer(code, said = []) {
        if (code === 0 && said.length === 0) rmSync(file, { force: true })
        else {
          writeFileSync(`${file}.new`, `${[code, ...said].join('\n')}\n`, { mode: 0o600 })
          renameSync(`${file}.new`, file)
        }
        if (startOf(pid) !== start) {
          rmSync(file, { force: true })
          return false
        }
        process.kill(pid, 'SIGUSR1')
        return true
      },
    }
  }

  /** From now on launchers start processes of their own. */
  close(): void {
    rmSync(this.path, { force: true })
    this.socket.destroy()
  }
}
