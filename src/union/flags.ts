/** The flags that chattr(1) sets: ioctl_iflags(2), ioctl_xfs_fsgetxattr(2). */

import {
  ENOTTY,
  EROFS,
  FS_APPEND_FL,
  FS_IMMUTABLE_FL,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  FS_XFLAG_APPEND,
  FS_XFLAG_IMMUTABLE,
  O_DIRECTORY,
  O_RDONLY,
} from '../abi/linux.js'
import * as sys from '../sys/file.js'
import type { Result } from '../vfs.js'
import { copyUp } from './copyup.js'
import type { Core } from './core.js'
import { openNode } from './descriptors.js'
import { locate, place } from './locate.js'
import { Dir, type Node } from './node.js'

/**
 * Reads or changes a node's flags. Those of the upper are the file's own there, so it is the upper's filesystem that keeps
 * an immutable file as it is. A lower is never changed, and its copy in the upper is a file like any other: of its flags
 * immutable and append-only are not shown.
 */
export function flags(core: Core, node: Node, command: number, data: Buffer): Result {
  if (!(node instanceof Dir) && !node.isRegular) return -ENOTTY
  const changes = command === FS_IOC_SETFLAGS || command === FS_IOC_FSSETXATTR
  if (changes) {
    if (core.workdir === undefined) return -EROFS
    const r = copyUp(core, node, 'all')
    if (r < 0) return r
  }
  const fd = node instanceof Dir ? openDir(node) : openNode(core, node, O_RDONLY)
  if (fd < 0) return fd
  const r = sys.flags(fd, command, data)
  sys.close(fd)
  // The kernel takes no ioctl to change a file's ctime.
  if (r >= 0 && changes) core.notifier?.attributes(node.id)
  if (r >= 0 && !node.inUpper) {
    const kept =
      command === FS_IOC_GETFLAGS ? FS_APPEND_FL | FS_IMMUTABLE_FL : FS_XFLAG_APPEND | FS_XFLAG_IMMUTABLE
    data.writeUInt32LE((data.readUInt32LE(0) & ~kept) >>> 0, 0)
  }
  return r
}

function openDir(node: Dir): Result {
  const r = locate(node, '.')
  return r < 0 ? r : sys.open(place.fd, place.name, O_RDONLY | O_DIRECTORY)
}

const asked = Buffer.alloc(4)

/** Whether a directory of the upper is immutable or append-only: no name in it may be removed. */
export function keepsNames(dir: Dir): boolean {
  const fd = openDir(dir)
  if (fd < 0) return false
  const r = sys.flags(fd, FS_IOC_GETFLAGS, asked)
  sys.close(fd)
  return r >= 0 && (asked.readUInt32LE(0) & (FS_APPEND_FL | FS_IMMUTABLE_FL)) !== 0
}
