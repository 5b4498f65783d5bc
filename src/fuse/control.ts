import { XATTR_STATS, XATTR_STATUS } from '../abi/layerfs.js'
import { ENODATA, ERANGE } from '../abi/linux.js'
import { bytesOf } from '../sys/libc.js'
import { readXattrOf } from '../sys/xattr.js'
import { type Name, type NodeId, type Result, ROOT } from '../vfs.js'

/** What a mount says of itself, as any process may ask: JSON, or -errno. @param mountpoint the mount on it, not what it covers */
export const readStatus = (mountpoint: string): string | Result =>
  readXattrOf(bytesOf(`${mountpoint}/`), XATTR_STATUS)

/** Answers the session's own xattrs. Their values are JSON, made anew when the size is asked for. */
export class Control {
  private readonly sources: ReadonlyMap<Name, () => unknown>
  /** The value whose size was told last: the read that follows gets that one, so that it fits. */
  private told: { name: Name; value: Buffer } | undefined

  /** @param settled hears that a reset or reload is through, once every notification it caused has been handed over */
  constructor(
    status: () => unknown,
    stats: () => unknown,
    private readonly orders: ReadonlyMap<Name, () => Result> = new Map(),
    private readonly settled: (orphans: Result) => void = () => {},
  ) {
    this.sources = new Map([
      [XATTR_STATUS, status],
      [XATTR_STATS, stats],
    ])
  }

  /** Whether an xattr of a node is answered here. */
  owns(node: NodeId, name: Name): boolean {
    return node === ROOT && name.charCodeAt(0) === 0x6c && this.sources.has(name)
  }

  /** Whether setting an xattr of a node is an order to the session. */
  commands(node: NodeId, name: Name): boolean {
    return node === ROOT && this.orders.has(name)
  }

  /** Carries out an order. As Filesystem.setxattr. */
  obey(name: Name): Result {
    const r = this.orders.get(name)?.() ?? -ENODATA
    this.settled(r)
    return Math.min(r, 0)
  }

  /** As Filesystem.getxattr. */
  getxattr(name: Name, dst: Buffer): Result {
    const source = this.sources.get(name)
    if (source === undefined) return -ENODATA
    if (dst.length === 0) {
      const value = Buffer.from(JSON.stringify(source()))
      this.told = { name, value }
      return value.length
    }
    const value =
      this.told?.name === name && this.told.value.length <= dst.length
        ? this.told.value
        : Buffer.from(JSON.stringify(source()))
    this.told = undefined
    if (value.length > dst.length) return -ERANGE
    return value.copy(dst)
  }
}
