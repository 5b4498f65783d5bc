/** mount(2) and umount2(2), and /proc/self/mountinfo. */

import { readFileSync } from 'node:fs'
import type { Result } from '../vfs.js'
import { bind, bytesOf, cstr, result, textOf } from './libc.js'

const c = {
  mount: bind('int mount(const void *, const void *, const void *, unsigned long, const void *)'),
  umount2: bind('int umount2(const void *, int)'),
}

/** NUL-ended bytes of text, of any length. */
const bytes = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf8')

/** mount(2). @param flags MS_* */
export const mount = (source: string, target: string, type: string, flags: number, data: string): Result =>
  result(c.mount(bytes(source), bytes(target), bytes(type), flags, bytes(data)))

/** umount2(2). @param flags MNT_DETACH, MNT_FORCE, UMOUNT_NOFOLLOW */
export const umount = (target: string, flags: number): Result =>
  result(c.umount2(cstr(bytesOf(target)), flags))

/** One line of /proc/PID/mountinfo: proc_pid_mountinfo(5). */
export interface MountInfo {
  id: number
  /** `MAJOR:MINOR` of the filesystem. */
  device: string
  root: string
  mountpoint: string
  /** Options of this mount, then of its filesystem. */
  options: string[]
  type: string
  source: string
}

/** Octal escapes of blanks, backslashes and newlines, as seq_file writes them. */
const unescaped = (field: string): string =>
  textOf(field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))))

/** The mounts that a process sees, later ones over earlier ones. */
export function mounts(pid: number | 'self' = 'self'): MountInfo[] {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'latin1').split('\n')
  const found: MountInfo[] = []
  for (const line of lines) {
    const dash = line.indexOf(' - ')
    if (dash < 0) continue
    const [id, , device, root, mountpoint, options] = line.slice(0, dash).split(' ')
    const [type, source, superOptions] = line.slice(dash + 3).split(' ')
    if (id === undefined || device === undefined || root === undefined || mountpoint === undefined) continue
    found.push({
      id: Number(id),
      device,
      root: unescaped(root),
      mountpoint: unescaped(mountpoint),
      options: [...(options ?? '').split(','), ...(superOptions ?? '').split(',')],
      type: type ?? '',
      source: unescaped(source ?? ''),
    })
  }
  return found
}

/** The topmost mount at exactly this absolute path without symlinks. */
export const mountAt = (path: string): MountInfo | undefined =>
  mounts().findLast((m) => m.mountpoint === path)
