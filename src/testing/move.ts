/** Filling a directory that has to stay the one it is, with all that Linux knows of it. */

import { rmdirSync } from 'node:fs'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../abi/linux.js'
import { check } from '../export/walk.js'
import { close, open } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { chmodAt, chownAt, stat, utimensAt } from '../sys/stat.js'
import { readXattr, removeXattr, setXattr, xattrNames } from '../sys/xattr.js'
import { Attr } from '../vfs.js'
import { moveContents } from './contents.js'

/** Moves all that `from` holds to the empty `to` on the same filesystem, gives it the look of `from`, and removes that. */
export function moveAll(from: string, to: string): void {
  likeDirectory(from, to, () => moveContents(from, to))
  rmdirSync(from)
}

const attr = new Attr()

/** Gives a directory the owner, mode, xattrs and times that another had before `change`, if anything, changed both. */
export function likeDirectory(from: string, to: string, change?: () => void): void {
  const fds = [from, to].map((path) => open(AT_FDCWD, bytesOf(path), O_RDONLY | O_DIRECTORY))
  const [a = -1, b = -1] = fds
  try {
    check(a, 'open', bytesOf(from))
    check(b, 'open', bytesOf(to))
    check(stat(a, attr), 'look at', bytesOf(from))
    change?.()
    check(chownAt(b, '', attr.uid, attr.gid), 'give', bytesOf(to))
    check(chmodAt(b, '.', attr.mode & 0o7777), 'set the mode of', bytesOf(to))
    const [had, has] = [xattrsOf(b), xattrsOf(a)]
    for (const name of had) if (!has.includes(name)) removeXattr(b, '.', name)
    for (const name of has) {
      const value = readXattr(a, '.', name)
      check(typeof value === 'number' ? value : setXattr(b, '.', name, value), `set ${name} of`, bytesOf(to))
    }
    check(utimensAt(b, '.', attr.atime, attr.atimeNs, attr.mtime, attr.mtimeNs), 'set times of', bytesOf(to))
  } finally {
    for (const fd of fds) if (fd >= 0) close(fd)
  }
}

/** Those that users see, and the opaque mark; the rest a mount sets anew. */
function xattrsOf(fd: number): string[] {
  const names = xattrNames(fd, '.')
  return typeof names === 'number' ? [] : names.filter((name) => !/\.overlay\.(impure|origin)$/.test(name))
}
