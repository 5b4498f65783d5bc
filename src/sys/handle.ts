/** File handles, by which overlayfs notes where a copied-up file came from: name_to_handle_at(2), ioctl_fs(2). */

import { AT_EMPTY_PATH, EOPNOTSUPP, O_DIRECTORY, O_RDONLY } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { close, open } from './file.js'
import { bind, cstr, result } from './libc.js'

const c = {
  nameToHandleAt: bind('int name_to_handle_at(int, const void *, void *, void *, int)'),
  ioctl: bind('int ioctl(int, unsigned long, void *)'),
}

/** Longest handle the kernel gives: MAX_HANDLE_SZ. */
const MAX_HANDLE = 128
const handle = Buffer.alloc(8 + MAX_HANDLE)
const mountId = Buffer.alloc(4)

export interface FileHandle {
  type: number
  bytes: Buffer
}

/** The handle of `name` in `dirfd`, not followed; of `dirfd` itself with an empty name. -EOPNOTSUPP where the filesystem gives none. */
export function handleOf(dirfd: number, name: string): FileHandle | Result {
  handle.writeUInt32LE(MAX_HANDLE, 0)
  const flags = name.length === 0 ? AT_EMPTY_PATH : 0
  const r = result(c.nameToHandleAt(dirfd, cstr(name), handle, mountId, flags))
  if (r < 0) return r
  const size = handle.readUInt32LE(0)
  if (size > MAX_HANDLE) return -EOPNOTSUPP
  return { type: handle.readInt32LE(4), bytes: Buffer.from(handle.subarray(8, 8 + size)) }
}

/** FS_IOC_GETFSUUID, since Linux 6.9: a length byte and 16 bytes. */
const FS_IOC_GETFSUUID = 0x80111500
const uuid = Buffer.alloc(17)

/** The UUID of the filesystem that holds a directory; zeros where the kernel or the filesystem tells none. */
export function filesystemUuid(dirfd: number): Buffer {
  const zeros = Buffer.alloc(16)
  const fd = open(dirfd, '.', O_RDONLY | O_DIRECTORY)
  if (fd < 0) return zeros
  const r = c.ioctl(fd, FS_IOC_GETFSUUID, uuid)
  close(fd)
  return r < 0 || uuid[0] !== 16 ? zeros : Buffer.from(uuid.subarray(1))
}
