/** `layerfs diff --patch`: changes of text files as a unified diff. */

import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff'
import { S_IFMT, S_IFREG } from '../abi/linux.js'
import { openContent } from '../export/place.js'
import type { Source } from '../export/source.js'
import { check } from '../export/walk.js'
import { close, pread } from '../sys/file.js'
import { textOf } from '../sys/libc.js'
import { statIn } from '../union/override.js'
import { Attr, type Name } from '../vfs.js'
import type { Change, Entry } from './compare.js'

/** Larger files are not compared line by line. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024

const attr = new Attr()
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The text of a regular file; `undefined` where it is none. */
function textAt(source: Source, entry: Entry | undefined, path: Name): string | undefined {
  if (entry === undefined) return ''
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
  if (bytes.includes(0)) return undefined
  try {
    return utf8.decode(bytes.subarray(0, at))
  } catch {
    return undefined
  }
}

function isFile(entry: Entry | undefined, path: Name): boolean {
  if (entry === undefined) return true
  check(statIn(entry.loc.layer, check(entry.loc.fd(), 'open', path), entry.name, attr), 'look at', path)
  return (attr.mode & S_IFMT) === S_IFREG
}

/** A path in a header: quoted where a line break or a control character would end it. */
const quoted = (path: string): string =>
  [...path].some((char) => char < ' ' || char === '"' || char === '\\') ? JSON.stringify(path) : path

/** The part of the diff for one change; empty where its content did not change. */
export function patchOf(change: Change, old: Source, now: Source): string {
  const { path, kind } = change
  if (kind === 'same' || kind === 'metadata' || kind === 'contents') return ''
  if (!isFile(change.old, path) || !isFile(change.now, path)) return ''
  const shown = textOf(path)
  const [from, to] = [
    change.old === undefined ? '/dev/null' : quoted(`a/${shown}`),
    change.now === undefined ? '/dev/null' : quoted(`b/${shown}`),
  ]
  const before = textAt(old, change.old, path)
  const after = textAt(now, change.now, path)
  if (before === undefined || after === undefined) return `Binary files ${from} and ${to} differ\n`
  if (before === after) return ''
  const options = { context: 3, headerOptions: FILE_HEADERS_ONLY }
  return createTwoFilesPatch(from, to, before, after, undefined, undefined, options)
}
