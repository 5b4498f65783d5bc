/** Open files: the numbers that the kernel calls them by, and the descriptors behind. */

import { UTIME_OMIT } from '../abi/linux.js'
import { close } from '../sys/file.js'
import { utimensAt } from '../sys/stat.js'
import type { Fh, JobId } from '../vfs.js'
import { endLending } from './lent.js'
import type { Node } from './node.js'

/** One open file. */
export class Handle {
  /** The helper's job that syncs it, while one does. */
  syncing: JobId | undefined

  constructor(
    readonly node: Node,
    /** Its descriptor, of which the number stays when copy-up puts another file behind it; -1 until it is needed: `descriptorOf`. */
    public fd: number,
    /** O_* flags its descriptor was opened with, without O_TRUNC. */
    readonly flags: number,
  ) {}
}

export class HandleTable {
  private readonly slots: (Handle | undefined)[] = []
  private readonly free: Fh[] = []

  get(fh: Fh): Handle | undefined {
    return fh < 0 ? undefined : this.slots[fh]
  }

  add(node: Node, fd: number, flags: number): Fh {
    const handle = new Handle(node, fd, flags)
    node.handles ??= []
    node.handles.push(handle)
    const fh = this.free.pop()
    if (fh === undefined) return this.slots.push(handle) - 1
    this.slots[fh] = handle
    return fh
  }

  release(fh: Fh): void {
    const handle = this.get(fh)
    if (handle === undefined) return
    this.slots[fh] = undefined
    this.free.push(fh)
    const { node } = handle
    if (node.stamp?.late) {
      const { mtime, mtimeNs } = node.stamp
      if (utimensAt(handle.fd, '', 0, UTIME_OMIT, mtime, mtimeNs) >= 0) node.stamp.late = false
    }
    if (handle.fd >= 0) close(handle.fd)
    node.handles = node.handles?.filter((h) => h !== handle)
    if (node.handles?.length === 0) {
      node.handles = undefined
      endLending(node)
      node.stamp = undefined
    }
  }

  get open(): number {
    return this.slots.length - this.free.length
  }

  closeAll(): void {
    for (let fh = 0; fh < this.slots.length; fh++) this.release(fh)
  }
}
