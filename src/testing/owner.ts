/** Places where there is no flock(2) to be had: marked with the process's id. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoName, errnoOf } from '../errors.js'
import { removeTree } from './contents.js'
import { type Keeper, sweep } from './place.js'

const PID = 'pid'

export const pids: Keeper = {
  take(dir) {
    writeFileSync(join(dir, PID), String(process.pid))
    // The mark goes with the directory.
    return () => {}
  },
  mountpoints: () => [],
}

/**
 * Removes copies of processes that have ended without removing them.
 *
 * @returns the directories that are gone now
 */
export const freeOrphans = (): string[] =>
  sweep((_, base) => {
    const pid = ownerOf(base)
    if (pid === undefined || lives(pid)) return false
    removeTree(base)
    return true
  })

/** Undefined where nobody has marked it so. */
function ownerOf(base: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(base, PID), 'utf8'))
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process may not be signalled, and lives.
    return errnoName(errnoOf(error) ?? 0) !== 'ESRCH'
  }
}
