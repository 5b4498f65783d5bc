/**
 * Lowers whose filesystem may cease to answer: a server that is gone, a FUSE daemon that has stopped. Before a request
 * touches one, a helper thread asks that filesystem something; the session goes on with others until it has answered.
 */

import { statFs } from '../sys/stat.js'
import { type JobId, PARKED, type Result } from '../vfs.js'
import type { Core } from './core.js'
import type { Layer } from './layer.js'
import type { Loc } from './loc.js'
import { Dir, type Node } from './node.js'

/** NFS, SMB and CIFS, FUSE, 9P, Ceph, AFS, Coda: linux/magic.h. */
const REMOTE: ReadonlySet<number> = new Set([
  0x6969, 0xfe534d42, 0xff534d42, 0x65735546, 0x01021997, 0x00c36400, 0x5346414f, 0x73757245,
])

/** Whether somebody else has to answer for what is in this directory. */
export const isRemote = (fd: number): boolean => REMOTE.has(statFs(fd))

/** What is known of a remote lower. */
export class Reach {
  private asking: JobId | undefined
  /** When it last answered: performance.now. */
  private answered = Number.NEGATIVE_INFINITY

  constructor(private readonly fd: number) {}

  /** @returns PARKED while it has not answered since `since`; an error that it answers with is an answer */
  since(core: Core, since: number): Result {
    const { helpers } = core
    if (helpers === undefined || this.answered >= since) return 0
    if (this.asking === undefined) {
      const job = helpers.start({ kind: 'ask', fd: this.fd })
      // No helper is to be had: as without one.
      if (job < 0) return 0
      this.asking = job
      return PARKED
    }
    if (helpers.take(this.asking) === PARKED) return PARKED
    this.asking = undefined
    this.answered = performance.now()
    return 0
  }
}

/** As Filesystem.reachable. */
export function reachable(core: Core, node: Node, since: number, whole: boolean): Result {
  if (!(node instanceof Dir)) return reach(core, node.container.layer, since)
  if (!whole) return reach(core, (node.locs[0] as Loc).layer, since)
  let r: Result = 0
  for (const { layer } of node.locs) if (reach(core, layer, since) === PARKED) r = PARKED
  return r
}

const reach = (core: Core, layer: Layer, since: number): Result => layer.reach?.since(core, since) ?? 0
