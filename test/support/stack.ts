/** A stack of directories and a mountpoint, for tests of the command. */
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Identity, plainUser, scratch } from './identity.js'
import { discard } from './mounts.js'

export interface Directories {
  dir: string
  top: string
  base: string
  upper: string
  work: string
  mnt: string
  /** A path below `dir`. */
  at(...names: string[]): string
  discard(): void
}

/** Two lowers with `top/only-top`, `base/only-base`, `both` in each, and `dir/` in each; an upper, a workdir, a mountpoint. */
export function directories(as: Identity = 'root'): Directories {
  const dir = scratch('cli', as)
  const at = (...names: string[]): string => path.join(dir, ...names)
  for (const name of ['top/dir', 'base/dir', 'upper', 'work', 'mnt'])
    fs.mkdirSync(at(name), { recursive: true })
  for (const layer of ['top', 'base']) {
    fs.writeFileSync(at(layer, `only-${layer}`), layer)
    fs.writeFileSync(at(layer, 'both'), layer)
    fs.writeFileSync(at(layer, 'dir', layer), layer)
  }
  if (as !== 'root') {
    const { uid, gid } = plainUser()
    for (const name of fs.readdirSync(dir, { recursive: true }) as string[]) fs.lchownSync(at(name), uid, gid)
  }
  return {
    dir,
    top: at('top'),
    base: at('base'),
    upper: at('upper'),
    work: at('work'),
    mnt: at('mnt'),
    at,
    discard: () => discard(dir),
  }
}

/** Waits for something that other processes bring about, for at most half a minute. */
export async function until(what: string, happened: () => boolean): Promise<void> {
  for (const end = Date.now() + 30_000; !happened(); ) {
    if (Date.now() > end) throw new Error(`in half a minute it did not come about that ${what}`)
    await sleep(10)
  }
}

/** Whether a process is there and no zombie. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
