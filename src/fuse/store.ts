/** Handing pages of a file to the kernel from a helper thread. */

import { STORE_OUT } from '../abi/fuse.js'
import { writeFd } from '../sys/device.js'
import { pread } from '../sys/file.js'
import type { NodeId, Result } from '../vfs.js'
import { Reply } from './reply.js'

/** The most that one job hands over. */
export const MAX_STORE = 1 << 20

/** FUSE_NOTIFY_STORE of `count` bytes from `pos` on, at most MAX_STORE, read from the file `from`. */
export interface Store {
  kind: 'store'
  from: number
  /** /dev/fuse */
  device: number
  node: NodeId
  pos: number
  count: number
}

let reply: Reply | undefined

/** Waits for pages that are locked, so for the session's answers to READ. @returns -ENOENT where the kernel has forgotten the node */
export function runStore({ from, device, node, pos, count }: Store): Result {
  reply ??= new Reply(STORE_OUT.size + MAX_STORE, 0)
  const n = pread(from, reply.body(STORE_OUT.size + count).subarray(STORE_OUT.size), pos)
  return n <= 0 ? n : writeFd(device, reply.buffer, reply.store(node, pos, n))
}
