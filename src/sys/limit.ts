/** What this process may use: getrlimit(2), and the table of its descriptors. */

import { F_DUPFD_CLOEXEC } from '../abi/linux.js'
import { close } from './file.js'
import { bind, bindAsync } from './libc.js'

const getrlimit = bind('int getrlimit(int, void *)')
const RLIMIT_NOFILE = 7

const fcntl = bindAsync('int fcntl(int, int, int)')
const STDIN = 0

/** How many descriptors there is room for without waiting, where the limit allows as many. */
export const DESCRIPTOR_ROOM = 16384

/** How many descriptors this process may have open. Node has raised the soft limit to the hard one. */
export function openFileLimit(): number {
  const limits = Buffer.alloc(16)
  if (getrlimit(RLIMIT_NOFILE, limits) < 0) return 1024
  return Number(limits.readBigUInt64LE(0))
}

let roomy = false

/**
 * Has the kernel make the table of descriptors large at once, aside. It grows twofold otherwise, and each time holds up
 * the thread that opens a file for some 10 ms: a process of several threads waits for all processors (expand_fdtable).
 */
export async function makeRoomForDescriptors(): Promise<void> {
  if (roomy) return
  roomy = true
  const last = await fcntl(STDIN, F_DUPFD_CLOEXEC, Math.min(DESCRIPTOR_ROOM, openFileLimit()) - 1)
  if (last >= 0) close(last)
}
