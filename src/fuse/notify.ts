import * as F from '../abi/fuse.js'
import type { Name, NodeId, Notifier } from '../vfs.js'

/**
 * Messages that tell the kernel what to forget. Those that take no lock of the kernel's inodes go out at once, from
 * the session's thread. Those that do (`entry`, `pages`, `remove`) could wait for a request that only this thread
 * can answer, so they are handed to `defer`, which another thread sends.
 */
export class Notify implements Notifier {
  private readonly send: (message: Buffer) => void
  private readonly defer: (message: Buffer) => void

  /** @param defer sends from another thread than the session's */
  constructor(send: (message: Buffer) => void, defer: (message: Buffer) => void) {
    this.send = send
    this.defer = defer
  }

  attributes(node: NodeId): void {
    this.send(invalInode(node, -1, 0))
  }

  epoch(): void {
    this.send(message(F.FUSE_NOTIFY_INC_EPOCH, 0))
  }

  pages(node: NodeId, pos: number, length: number): void {
    this.defer(invalInode(node, pos, length))
  }

  entry(parent: NodeId, name: Name): void {
    const m = message(F.FUSE_NOTIFY_INVAL_ENTRY, F.INVAL_ENTRY_OUT.size + name.length + 1)
    put64(m, F.INVAL_ENTRY_OUT.parent, parent)
    m.writeUInt32LE(name.length, F.OUT_HEADER + F.INVAL_ENTRY_OUT.namelen)
    m.write(name, F.OUT_HEADER + F.INVAL_ENTRY_OUT.size, 'latin1')
    this.defer(m)
  }

  remove(parent: NodeId, child: NodeId, name: Name): void {
    const m = message(F.FUSE_NOTIFY_DELETE, F.DELETE_OUT.size + name.length + 1)
    put64(m, F.DELETE_OUT.parent, parent)
    put64(m, F.DELETE_OUT.child, child)
    m.writeUInt32LE(name.length, F.OUT_HEADER + F.DELETE_OUT.namelen)
    m.write(name, F.OUT_HEADER + F.DELETE_OUT.size, 'latin1')
    this.defer(m)
  }
}

function message(code: number, payload: number): Buffer {
  const m = Buffer.alloc(F.OUT_HEADER + payload)
  m.writeUInt32LE(m.length, F.OUT.len)
  m.writeInt32LE(code, F.OUT.error)
  return m
}

/** @param off negative: attributes alone. @param length 0 with `off` >= 0: to the end */
export function invalInode(node: NodeId, off: number, length: number): Buffer {
  const m = message(F.FUSE_NOTIFY_INVAL_INODE, F.INVAL_INODE_OUT.size)
  put64(m, F.INVAL_INODE_OUT.node, node)
  put64(m, F.INVAL_INODE_OUT.off, off)
  put64(m, F.INVAL_INODE_OUT.len, length)
  return m
}

const put64 = (m: Buffer, at: number, value: number): void => {
  m.writeBigInt64LE(BigInt(value), F.OUT_HEADER + at)
}
