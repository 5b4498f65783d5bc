/** A pair of connected sockets, and receiving a descriptor over one: unix(7), cmsg(3). */

import koffi from 'koffi'
import type { Result } from '../vfs.js'
import { bind, result } from './libc.js'

const c = {
  socketpair: bind('int socketpair(int, int, int, void *)'),
  recvmsg: bind('long recvmsg(int, void *, int)'),
}

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CMSG_CLOEXEC = 0x40000000

/** Two connected sockets, closed on exec, or -errno. */
export function socketPair(): [number, number] | Result {
  const pair = Buffer.alloc(8)
  const r = result(c.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
  return r < 0 ? r : [pair.readInt32LE(0), pair.readInt32LE(4)]
}

/** Bytes of struct msghdr, struct iovec, and of a control message with one descriptor: 64-bit layouts. */
const MSGHDR = 56
const IOVEC = 16
const CMSG_DATA = 16
const CONTROL = 24

/** Waits for a message that carries a descriptor. @returns it, or -errno; undefined where the peer hung up without one */
export function receiveFd(socket: number): Result | undefined {
  const byte = Buffer.alloc(1)
  const iov = Buffer.alloc(IOVEC)
  iov.writeBigUInt64LE(koffi.address(byte), 0)
  iov.writeBigUInt64LE(1n, 8)
  const control = Buffer.alloc(CONTROL)
  const header = Buffer.alloc(MSGHDR)
  header.writeBigUInt64LE(koffi.address(iov), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(koffi.address(control), 32)
  header.writeBigUInt64LE(BigInt(CONTROL), 40)
  const n = result(c.recvmsg(socket, header, MSG_CMSG_CLOEXEC))
  if (n < 0) return n
  const length = Number(header.readBigUInt64LE(40))
  if (n === 0 || length < CMSG_DATA + 4) return undefined
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return undefined
  return control.readInt32LE(CMSG_DATA)
}
