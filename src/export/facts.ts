/** What a file is, in the words of manifests and of reports of differences. */

import xxhash from 'xxhash-wasm'
import {
  EOPNOTSUPP,
  PATH_MAX,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../abi/linux.js'
import { close, pread } from '../sys/file.js'
import { readXattr, xattrNames } from '../sys/xattr.js'
import { isContent, mapXattr, type Owners } from '../union/metadata.js'
import { readLinkIn, xattrShown } from '../union/override.js'
import type { Attr, Name, Result } from '../vfs.js'
import { check } from './walk.js'

export interface Facts {
  type: 'file' | 'dir' | 'symlink' | 'fifo' | 'socket' | 'block' | 'char' | 'unknown'
  /** Permission bits in octal, four digits. */
  mode: string
  /** Owners as shown. */
  uid: number
  gid: number
  /** Bytes, of a regular file. */
  size?: number
  /** `xxh64:` and 16 hex digits, of a regular file whose content was read. */
  hash?: string
  /** Of a symlink, as bytes. */
  target?: Name
  /** `MAJOR:MINOR` of a device. */
  device?: string
}

const TYPES: ReadonlyMap<number, Facts['type']> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'dir'],
  [S_IFLNK, 'symlink'],
  [S_IFIFO, 'fifo'],
  [S_IFSOCK, 'socket'],
  [S_IFBLK, 'block'],
  [S_IFCHR, 'char'],
])

const target = Buffer.alloc(PATH_MAX)

/** The facts that need no content. @param attr of `name` in `dirfd`, as statIn gives them */
export function factsOf(attr: Attr, owners: Owners, dirfd: number, name: Name, path: Name): Facts {
  const type = TYPES.get(attr.mode & S_IFMT) ?? 'unknown'
  const facts: Facts = {
    type,
    mode: (attr.mode & 0o7777).toString(8).padStart(4, '0'),
    uid: owners.uids.toShown(attr.uid),
    gid: owners.gids.toShown(attr.gid),
  }
  if (type === 'file') facts.size = attr.size
  else if (type === 'symlink') {
    const length = check(readLinkIn(owners, dirfd, name, target), 'read', path)
    facts.target = target.toString('latin1', 0, length)
  } else if (type === 'block' || type === 'char') {
    const { rdev } = attr
    facts.device = `${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`
  }
  return facts
}

/** The xattrs of a file as shown, those of the layer format left out: `name=hex`, sorted. */
export function xattrsOf(owners: Owners, dirfd: number, name: Name, path: Name): string[] {
  const names = xattrNames(dirfd, name)
  if (typeof names === 'number') {
    if (names !== -EOPNOTSUPP) check(names, 'read the xattrs of', path)
    return []
  }
  const lines: string[] = []
  for (const xattr of names.filter(isContent)) {
    const visible = xattrShown(owners, xattr)
    if (visible === undefined) continue
    const value = readXattr(dirfd, name, xattr)
    if (typeof value === 'number') throw check(value, `read ${xattr} of`, path)
    check(mapXattr(visible, value, owners, 'toShown'), `map the ids in ${xattr} of`, path)
    lines.push(`${visible}=${value.toString('hex')}`)
  }
  return lines.sort()
}

const CHUNK_BYTES = 1024 * 1024

/** Hashes the content of open files, which it closes. */
export type Hash = (fd: number) => string | Result

/** Loads xxHash. */
export async function loadHash(): Promise<Hash> {
  const { create64 } = await xxhash()
  const chunk = Buffer.alloc(CHUNK_BYTES)
  return (fd) => {
    const state = create64()
    for (let at = 0; ; ) {
      const n = pread(fd, chunk, at)
      if (n <= 0) {
        close(fd)
        return n < 0 ? n : `xxh64:${state.digest().toString(16).padStart(16, '0')}`
      }
      state.update(chunk.subarray(0, n))
      at += n
    }
  }
}

/** The hash of an open file. @throws LayerfsError that names it */
export function hashOf(hash: Hash, fd: Result, path: Name): string {
  const digest = hash(check(fd, 'open', path))
  if (typeof digest === 'number') throw check(digest, 'read', path)
  return digest
}
