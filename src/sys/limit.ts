/** What this process may use: getrlimit(2). */

import { bind } from './libc.js'

const getrlimit = bind('int getrlimit(int, void *)')
const RLIMIT_NOFILE = 7

/** How many descriptors this process may have open. Node has raised the soft limit to the hard one. */
export function openFileLimit(): number {
  const limits = Buffer.alloc(16)
  if (getrlimit(RLIMIT_NOFILE, limits) < 0) return 1024
  return Number(limits.readBigUInt64LE(0))
}
