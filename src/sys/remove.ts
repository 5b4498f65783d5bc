/** Removing whole trees by descriptor, following nothing. */

import { EACCES, EISDIR, ENOENT, ENOTDIR, EPERM, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from '../abi/linux.js'
import type { Name, Result } from '../vfs.js'
import { close, open } from './file.js'
import { listDir, rmdirAt, unlinkAt } from './name.js'
import { chmodAt } from './stat.js'

/** Removes `name` in `dirfd` and all that it holds. @returns 0, also where nothing was there */
export function removeTree(dirfd: number, name: Name): Result {
  const r = unlinkAt(dirfd, name)
  if (r === 0 || r === -ENOENT) return 0
  if (r !== -EISDIR && r !== -EPERM) return r
  const emptied = emptyDir(dirfd, name)
  return emptied < 0 ? emptied : rmdirAt(dirfd, name)
}

/** Removes all that the directory `name` holds. */
export function emptyDir(dirfd: number, name: Name): Result {
  let fd = open(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  if (fd === -EACCES && chmodAt(dirfd, name, 0o700) === 0)
    fd = open(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  if (fd < 0) return fd === -ENOTDIR ? -EPERM : fd
  const names: Name[] = []
  let r = listDir(fd, (entry) => names.push(entry))
  for (const entry of names) {
    if (r < 0) break
    r = removeTree(fd, entry)
    if (r === -EACCES && chmodAt(dirfd, name, 0o700) === 0) r = removeTree(fd, entry)
  }
  close(fd)
  return r
}
