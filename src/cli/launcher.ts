/**
 * The shell that started this process and waits: bin/layerfs, bin/fuse-layerfs. Node takes longer to start than a mount
 * to make, so the process that reads the command line becomes the daemon, and the shell ends with 0 at SIGUSR1. Until
 * then it passes on this process's exit code.
 */
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { LayerfsError } from '../errors.js'
import { replace } from '../sys/file.js'
import { setsid } from '../sys/thread.js'

const LAUNCHER = 'LAYERFS_LAUNCHER'

export class Launcher {
  private constructor(private readonly pid: number) {}

  /**
   * The one that waits for this process; undefined where there is none.
   *
   * @throws LayerfsError DAEMON_FAILED where it has been killed already
   */
  static take(): Launcher | undefined {
    const given = process.env[LAUNCHER]
    if (given === undefined) return undefined
    delete process.env[LAUNCHER]
    const launcher = new Launcher(Number(given))
    launcher.mustWait()
    return launcher
  }

  /** @throws LayerfsError DAEMON_FAILED where it has been killed: nobody wants the mount */
  private mustWait(): void {
    if (process.ppid !== this.pid)
      throw new LayerfsError('DAEMON_FAILED', 'the command that asked for the mount has been killed')
  }

  /**
   * Makes this process a daemon: a session of its own, none of the launcher's descriptors, what it says in the log.
   * Then the launcher ends with 0.
   *
   * @throws LayerfsError DAEMON_FAILED, or an Error of node:fs, where it has been killed meanwhile
   */
  leave(log: string | undefined): void {
    this.mustWait()
    setsid()
    for (const fd of this.inherited()) closeSync(fd)
    const nothing = openSync('/dev/null', 'r+')
    const said = log === undefined ? nothing : openSync(log, 'a', 0o640)
    replace(nothing, 0)
    replace(said, 1)
    replace(said, 2)
    closeSync(nothing)
    if (said !== nothing) closeSync(said)
    process.kill(this.pid, 'SIGUSR1')
  }

  /** Descriptors past stderr that the launcher has open under the same number: nothing that Node opens is shared with it. */
  private inherited(): number[] {
    return readdirSync(`/proc/${this.pid}/fd`)
      .map(Number)
      .filter((fd) => fd > 2 && linkOf('self', fd) === linkOf(this.pid, fd))
  }
}

const linkOf = (pid: number | 'self', fd: number): string | undefined => {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    return pid === 'self' ? '' : undefined
  }
}
