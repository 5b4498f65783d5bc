/** A stack mounted by the command, and programs run in it. */
import fs from 'node:fs'
import path from 'node:path'
import { layerfs, type Ran, run } from '../support/command.js'
import { scratch } from '../support/identity.js'
import { discard, umount } from '../support/mounts.js'

/** What programs are given: nothing of the caller's own set-up. */
const ENVIRONMENT = {
  PATH: process.env.PATH,
  LC_ALL: 'C.UTF-8',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'author',
  GIT_AUTHOR_EMAIL: 'author@example.org',
  GIT_COMMITTER_NAME: 'author',
  GIT_COMMITTER_EMAIL: 'author@example.org',
}

export class Mounted {
  readonly dir = scratch('programs', 'root')
  readonly mnt = path.join(this.dir, 'mnt')
  /** The topmost lower: what a test prepares lies here before `mount`. */
  readonly lower = path.join(this.dir, 'lower')

  constructor(readonly transport: 'kernel' | 'fuse-native') {
    for (const name of ['lower', 'base', 'upper', 'work', 'mnt', 'home'])
      fs.mkdirSync(path.join(this.dir, name))
  }

  mount(): void {
    const layers = ['--lower', this.lower, '--lower', path.join(this.dir, 'base')]
    const { code, stderr } = layerfs([
      'mount',
      ...['--transport', this.transport],
      ...layers,
      ...['--upper', path.join(this.dir, 'upper'), '--work', path.join(this.dir, 'work'), this.mnt],
    ])
    if (code !== 0) throw new Error(stderr)
  }

  remount(): void {
    umount(this.mnt)
    this.mount()
  }

  /** Runs shell text in a directory, by default the mountpoint; throws with all that it said where it fails. */
  sh(script: string, cwd = this.mnt): string {
    const ran: Ran = run('bash', ['-euo', 'pipefail', '-c', script], {
      cwd,
      env: { ...ENVIRONMENT, HOME: path.join(this.dir, 'home'), DIR: this.dir },
    })
    if (ran.code !== 0) throw new Error(`${script}\nexit ${ran.code}\n${ran.stdout}${ran.stderr}`)
    return ran.stdout.trim()
  }

  remove(): void {
    discard(this.dir)
  }
}
