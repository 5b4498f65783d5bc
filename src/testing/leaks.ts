/** Files that stay open in a fixture whose changes are dropped. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Leak } from './fixture.js'

/** How the kernel names an open file that has lost its name: proc_pid_fd(5). */
const GONE = ' (deleted)'

/** Open files beneath `path` that have no name any more, as far as this user may look. */
export function leaksIn(path: string): Leak[] {
  const found: Leak[] = []
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    for (const fd of list(`/proc/${pid}/fd`)) {
      const target = link(`/proc/${pid}/fd/${fd}`)
      if (!target.startsWith(`${path}/`) || !target.endsWith(GONE)) continue
      found.push({ pid: Number(pid), command: commandOf(pid), path: target.slice(0, -GONE.length) })
    }
  }
  return found
}

/** Warns of files that a test has left open. @param count how many there are, seen or not */
export function tellLeaks(leaks: Leak[], path: string, count: number): Leak[] {
  const names = leaks.slice(0, 5).map((l) => `${l.path} by ${l.command} (pid ${l.pid})`)
  const who = names.length === 0 ? '' : `: ${names.join(', ')}${leaks.length > 5 ? ', ...' : ''}`
  const files = count === 1 ? '1 changed file is' : `${count} changed files are`
  process.emitWarning(`${files} still open in ${path}, whose changes are dropped${who}`, 'LayerfsWarning')
  return leaks
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return '?'
  }
}
