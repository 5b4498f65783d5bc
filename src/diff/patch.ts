/** `layerfs diff --patch`: changes of text files as a unified diff. */

import { S_IFMT, S_IFREG } from '../abi/linux.js'
import { openContent } from '../export/place.js'
import type { Source } from '../export/source.js'
import { check } from '../export/walk.js'
import { close, pread } from '../sys/file.js'
import { textOf } from '../sys/libc.js'
import { statIn } from '../union/override.js'
import { Attr, type Name } from '../vfs.js'
import type { Change, Entry } from './compare.js'
import { filePatch, MAX_TEXT_BYTES, textIn } from './text.js'

const attr = new Attr()

/** The text of a regular file; `undefined` where it is none. */
function textAt(source: Source, entry: Entry, path: Name): string | undefined {
  const { loc, name, parents } = entry
  check(statIn(loc.layer, check(loc.fd(), 'open', path), name, attr), 'look at', path)
  if ((attr.mode & S_IFMT) !== S_IFREG || attr.size > MAX_TEXT_BYTES) return undefined
  const fd = check(openContent(source.stack, parents, loc, name), 'open', path)
  const bytes = Buffer.alloc(attr.size)
  let at = 0
  try {
    while (at < bytes.length) {
      const n = check(pread(fd, bytes.subarray(at), at), 'read', path)
      if (n === 0) break
      at += n
    }
  } finally {
    close(fd)
  }
  return textIn(bytes.subarray(0, at))
}

function isFile(entry: Entry | undefined, path: Name): boolean {
  if (entry === undefined) return true
  check(statIn(entry.loc.layer, check(entry.loc.fd(), 'open', path), entry.name, attr), 'look at', path)
  return (attr.mode & S_IFMT) === S_IFREG
}

/** The part of the diff for one change; empty where its content did not change. */
export function patchOf(change: Change, old: Source, now: Source): string {
  const { path, kind } = change
  if (kind === 'same' || kind === 'metadata' || kind === 'contents') return ''
  if (!isFile(change.old, path) || !isFile(change.now, path)) return ''
  const before = change.old === undefined ? null : textAt(old, change.old, path)
  const after = change.now === undefined ? null : textAt(now, change.now, path)
  return filePatch(textOf(path), before, after)
}
