/** The memory filesystem, mounted by a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { scratch } from './identity.js'
import { discard, umount } from './mounts.js'

const PROGRAM = path.join(import.meta.dirname, 'memfsd.ts')

export interface Served {
  mountpoint: string
  /** Unmounts and waits for the process, whose exit code has to be 0. */
  end(): Promise<void>
  /** For afterEach: frees whatever is left. */
  discard(): void
}

/** @param options as memfsd takes them */
export async function serveMemory(options: Record<string, unknown> = {}): Promise<Served> {
  const dir = scratch('memfs')
  const mountpoint = path.join(dir, 'mnt')
  fs.mkdirSync(mountpoint)
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, mountpoint, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: path.join(import.meta.dirname, '../..'),
  })
  const exited = once(child, 'exit')
  const first = await Promise.race([once(child.stdout, 'data'), exited])
  if (String(first[0]) !== 'ready\n') {
    discard(dir)
    throw new Error(`the memory filesystem did not start: ${String(first)}`)
  }
  return {
    mountpoint,
    async end() {
      umount(mountpoint)
      const [code] = (await exited) as [number | null]
      if (code !== 0) throw new Error(`the memory filesystem exited with ${code}`)
    },
    discard() {
      discard(dir)
      kill(child)
    },
  }
}

function kill(child: ChildProcess): void {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
}
