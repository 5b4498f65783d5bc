/** A descriptor by which one thread wakes another out of poll(2): eventfd(2). */

import type { Result } from '../vfs.js'
import { bind, result } from './libc.js'

const c = {
  eventfd: bind('int eventfd(unsigned int, int)'),
  read: bind('long read(int, void *, size_t)'),
  write: bind('long write(int, const void *, size_t)'),
  close: bind('int close(int)'),
}

const EFD_CLOEXEC = 0o2000000
const EFD_NONBLOCK = 0o4000

export const makeEvent = (): Result => result(c.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))

const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
const count = Buffer.alloc(8)

export const raiseEvent = (fd: number): Result => result(c.write(fd, one, one.length))

/** Takes back what was raised. */
export const drainEvent = (fd: number): Result => result(c.read(fd, count, count.length))

export const closeEvent = (fd: number): Result => result(c.close(fd))
