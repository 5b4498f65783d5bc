/** Descriptors that are not files of a layer: read(2), write(2), poll(2), fcntl(2), and the ioctls of /dev/fuse. */

import { FUSE_DEV_IOC_BACKING_CLOSE, FUSE_DEV_IOC_BACKING_OPEN } from '../abi/fuse.js'
import type { Result } from '../vfs.js'
import { bind, result } from './libc.js'

const c = {
  read: bind('long read(int, void *, size_t)'),
  write: bind('long write(int, const void *, size_t)'),
  poll: bind('int poll(void *, unsigned long, int)'),
  fcntl: bind('int fcntl(int, int, long)'),
  ioctl: bind('int ioctl(int, unsigned long, void *)'),
}

/** read(2) of up to `dst.length` bytes. */
export const readFd = (fd: number, dst: Buffer): Result => result(c.read(fd, dst, dst.length))

/** write(2) of the first `count` bytes of `src`. */
export const writeFd = (fd: number, src: Buffer, count: number): Result => result(c.write(fd, src, count))

const F_GETFL = 3
const F_SETFL = 4

/** Sets or clears O_NONBLOCK of an open file: fcntl(2). */
export function setNonblocking(fd: number, on: boolean): Result {
  const flags = c.fcntl(fd, F_GETFL, 0)
  if (flags < 0) return result(flags)
  const O_NONBLOCK = 0o4000
  return result(c.fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK))
}

const POLLIN = 1
const pollfd = Buffer.alloc(8)

/** Waits until `fd` is readable or in error: poll(2). @param timeout milliseconds; -1: without end */
export function waitReadable(fd: number, timeout: number): Result {
  pollfd.writeInt32LE(fd, 0)
  pollfd.writeInt32LE(POLLIN, 4)
  return result(c.poll(pollfd, 1, timeout))
}

const pollfds = Buffer.alloc(16)

/** Waits until one of two descriptors is readable or in error. @returns whether the second is */
export function secondIsReadable(first: number, second: number): boolean {
  for (const [i, fd] of [first, second].entries()) {
    pollfds.writeInt32LE(fd, i * 8)
    pollfds.writeInt32LE(POLLIN, i * 8 + 4)
  }
  return c.poll(pollfds, 2, -1) > 0 && pollfds.readUInt16LE(14) !== 0
}

const map = Buffer.alloc(16)

/**
 * Makes the file of `fd` one that the kernel reads and writes itself: FUSE passthrough.
 *
 * @returns the backing id; -EPERM without CAP_SYS_ADMIN in the first user namespace, -ELOOP where the file lies on
 *   a stacked filesystem, -EOPNOTSUPP where its filesystem has no read and write of its own
 */
export function backingOpen(device: number, fd: number): Result {
  map.writeInt32LE(fd, 0)
  return result(c.ioctl(device, FUSE_DEV_IOC_BACKING_OPEN, map))
}

const id = Buffer.alloc(4)

export function backingClose(device: number, backing: number): Result {
  id.writeInt32LE(backing, 0)
  return result(c.ioctl(device, FUSE_DEV_IOC_BACKING_CLOSE, id))
}
