/** Files that stay open in a fixture whose changes are dropped. */

import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs'
import type { Leak } from './fixture.js'

/** How the kernel names an open file that has lost its name: proc_pid_fd(5). */
const GONE = ' (deleted)'

/** Open and mapped files beneath `path` that are not there any more, as far as this user may look. */
export function leaksIn(path: string): Leak[] {
  const found: Leak[] = []
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const paths = new Set<string>()
    for (const [held, target] of [...openOf(pid), ...mappedOf(pid)]) {
      if (!target.startsWith(`${path}/`)) continue
      if (target.endsWith(GONE)) paths.add(target.slice(0, -GONE.length))
      // What lies in a directory that is gone keeps its name there.
      else if (held !== undefined && !isAt(held, target)) paths.add(target)
    }
    for (const one of paths) found.push({ pid: Number(pid), command: commandOf(pid), path: one })
  }
  return found
}

/** Open files: what leads to the file, and its name. */
const openOf = (pid: string): [held: string, target: string][] =>
  list(`/proc/${pid}/fd`).map((fd) => [`/proc/${pid}/fd/${fd}`, link(`/proc/${pid}/fd/${fd}`)])

/** Names of mapped files, whose descriptors may be closed: proc_pid_maps(5). */
const mappedOf = (pid: string): [held: undefined, target: string][] =>
  [...text(`/proc/${pid}/maps`).matchAll(/^(?:\S+ +){5}(\/.*)$/gm)].map((line) => [undefined, line[1] ?? ''])

/** Whether the file that is held is still the one of that name. */
function isAt(held: string, target: string): boolean {
  const [a, b] = [look(statSync, held), look(lstatSync, target)]
  return a === undefined || (a.dev === b?.dev && a.ino === b.ino)
}

function look(by: (path: string) => Stats, path: string): Stats | undefined {
  try {
    return by(path)
  } catch {
    return undefined
  }
}

/** Warns of files that a test has left open. @param known how many there are at least, seen or not */
export function tellLeaks(leaks: Leak[], path: string, known: number): Leak[] {
  const count = Math.max(known, new Set(leaks.map((leak) => leak.path)).size)
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

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const commandOf = (pid: string): string => text(`/proc/${pid}/comm`).trim() || '?'
