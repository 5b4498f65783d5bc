/**
 * A mount namespace for mounts that must be gone once they are unmounted. Whoever makes a namespace meanwhile, as other
 * tests do, copies the mounts of ours and so keeps an overlay's upper in use, which `index=on` refuses with EBUSY.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const PATIENCE_MS = 20_000
const never = new Int32Array(new SharedArrayBuffer(4))

/** Lets go of what other tests had mounted when the namespace was made. */
const CLEAN = `while read -r _ target _; do case $target in "$1"*) umount -l "$target" || :;; esac; done </proc/self/mounts`

export class Space {
  private readonly holder: ChildProcess

  /** Needs root. */
  constructor() {
    // It ends with this process: then its standard input does.
    this.holder = spawn('unshare', ['--mount', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] })
    const ours = fs.readlinkSync('/proc/self/ns/mnt')
    for (const end = Date.now() + PATIENCE_MS; this.namespace() === ours; ) {
      if (Date.now() > end) throw new Error('unshare made no mount namespace')
      Atomics.wait(never, 0, 0, 5)
    }
    this.run('sh', ['-c', CLEAN, 'sh', path.join(os.tmpdir(), 'layerfs-')])
  }

  private namespace(): string {
    return fs.readlinkSync(`/proc/${this.holder.pid}/ns/mnt`)
  }

  /** Runs a program in it. */
  run(file: string, args: readonly string[]): void {
    execFileSync('nsenter', [`--mount=/proc/${this.holder.pid}/ns/mnt`, file, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: PATIENCE_MS,
    })
  }

  /** Where an absolute path of it is found from outside. */
  path(inside: string): string {
    return `/proc/${this.holder.pid}/root${inside}`
  }

  close(): void {
    this.holder.stdin?.end()
    this.holder.kill('SIGKILL')
  }
}
