/** Who keeps a mount busy: proc_pid_cwd(5), proc_pid_root(5), proc_pid_fd(5), proc_pid_maps(5). */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mounts } from './mount.js'

export interface Holder {
  pid: number
  command: string
  /** What it has there: the path of a file, a directory or a mount. */
  path: string
}

const link = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const list = (path: string): string[] => {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** Files that a process has mapped, by the names in its maps. */
function mapped(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8')
      .split('\n')
      .map((line) => line.slice(line.indexOf('/')))
  } catch {
    return []
  }
}

/**
 * Processes with a file, a working directory or a root beneath `mountpoint`, as far as this user may look; a mount
 * that lies within it counts as held by process 0.
 */
export function holders(mountpoint: string): Holder[] {
  const under = (path: string): boolean => path === mountpoint || path.startsWith(`${mountpoint}/`)
  const found: Holder[] = []
  for (const m of mounts()) {
    if (m.mountpoint !== mountpoint && under(m.mountpoint))
      found.push({ pid: 0, command: 'a mount', path: m.mountpoint })
  }
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const places = ['cwd', 'root', ...list(`/proc/${pid}/fd`).map((fd) => `fd/${fd}`)]
    const path = places.map((place) => link(`/proc/${pid}/${place}`)).find(under) ?? mapped(pid).find(under)
    if (path === undefined) continue
    found.push({ pid: Number(pid), command: commandOf(pid), path })
  }
  return found
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return '?'
  }
}
