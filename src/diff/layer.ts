/** `layerfs diff --tar`: changes as an OCI image layer (image-spec, layer.md). */

import { EILSEQ, S_IFMT, S_IFREG } from '../abi/linux.js'
import { OCI_OPAQUE, OCI_WHITEOUT_PREFIX } from '../abi/overlay.js'
import { LayerfsError } from '../errors.js'
import { factsOf, xattrsOf } from '../export/facts.js'
import { openContent } from '../export/place.js'
import type { Source } from '../export/source.js'
import { changed, check, shown } from '../export/walk.js'
import { close, pread } from '../sys/file.js'
import { statIn } from '../union/override.js'
import { Attr, type Name } from '../vfs.js'
import type { Change, Entry } from './compare.js'
import { header, type Member, padding, TAR, trailer } from './tar.js'

const CHUNK_BYTES = 1024 * 1024

const attr = new Attr()

/**
 * The archive, piece by piece. A deleted file is a member `.wh.NAME`, an opaque directory holds `.wh..wh..opq`. A piece
 * is good until the next one is asked for.
 *
 * @param changes as `compare` tells them with `opaque`; @param now the side they lead to
 * @throws LayerfsError UNSUPPORTED for a file whose name means a whiteout in this format
 */
export function* layerTar(changes: Iterable<Change>, now: Source): Generator<Buffer, void> {
  const links = new Map<string, Name>()
  const chunk = Buffer.alloc(CHUNK_BYTES)
  for (const change of changes) {
    const { path, kind } = change
    if (kind === 'same' || path.length === 0) continue
    const cut = path.lastIndexOf('/') + 1
    const name = path.slice(cut)
    if (kind === 'deleted') {
      yield header(mark(path.slice(0, cut) + OCI_WHITEOUT_PREFIX + name))
      continue
    }
    if (name.startsWith(OCI_WHITEOUT_PREFIX))
      throw new LayerfsError(
        'UNSUPPORTED',
        `${shown(path)} cannot be in an OCI layer, where its name means a whiteout: rename it`,
        { errno: EILSEQ, path: shown(path) },
      )
    yield* member(path, change.now as Entry, now, links, chunk)
    if (change.opaque === true) yield header(mark(`${path}/${OCI_OPAQUE}`))
  }
  yield trailer()
}

const mark = (path: Name): Member => ({
  type: TAR.file,
  path,
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  mtimeNs: 0,
})

function* member(
  path: Name,
  entry: Entry,
  now: Source,
  links: Map<string, Name>,
  chunk: Buffer,
): Generator<Buffer, void> {
  const { loc, name } = entry
  const fd = check(loc.fd(), 'open', path)
  check(statIn(loc.layer, fd, name, attr), 'look at', path)
  const facts = factsOf(attr, loc.layer, fd, name, path)
  // Sockets have no form in an archive; they are made anew by whoever listens.
  if (facts.type === 'socket' || facts.type === 'unknown') return
  const isFile = (attr.mode & S_IFMT) === S_IFREG
  const key = isFile && attr.nlink > 1 ? `${attr.dev}:${attr.ino}` : undefined
  const first = key === undefined ? undefined : links.get(key)
  const [major = 0, minor = 0] = facts.device?.split(':').map(Number) ?? []
  const one: Member = {
    type: first === undefined ? TAR[facts.type] : TAR.link,
    path: facts.type === 'dir' ? `${path}/` : path,
    mode: attr.mode & 0o7777,
    uid: facts.uid,
    gid: facts.gid,
    size: first === undefined ? (facts.size ?? 0) : 0,
    mtime: attr.mtime,
    mtimeNs: attr.mtimeNs,
    device: [major, minor],
    xattrs: first === undefined ? pairs(xattrsOf(loc.layer, fd, name, path)) : [],
  }
  const target = first ?? facts.target
  yield header(target === undefined ? one : { ...one, target })
  if (key !== undefined) links.set(key, path)
  if (one.size > 0) yield* content(path, entry, now, one.size, chunk)
}

const pairs = (xattrs: readonly string[]): [string, Buffer][] =>
  xattrs.map((x) => {
    const at = x.indexOf('=')
    return [x.slice(0, at), Buffer.from(x.slice(at + 1), 'hex')]
  })

function* content(
  path: Name,
  entry: Entry,
  now: Source,
  size: number,
  chunk: Buffer,
): Generator<Buffer, void> {
  const fd = check(openContent(now.stack, entry.parents, entry.loc, entry.name), 'open', path)
  try {
    for (let at = 0; at < size; ) {
      const n = check(pread(fd, chunk.subarray(0, Math.min(CHUNK_BYTES, size - at)), at), 'read', path)
      if (n === 0) throw changed(path)
      yield chunk.subarray(0, n)
      at += n
    }
  } finally {
    close(fd)
  }
  yield padding(size)
}
