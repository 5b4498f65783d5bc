/** Names between the engine (bytes, one char a byte) and the binding (text, decoded from UTF-8 with losses). */
import { isUtf8 } from 'node:buffer'
import type { Name } from '../vfs.js'

/** What the binding puts where bytes were no UTF-8. A name with it cannot be told from a damaged one. */
const REPLACEMENT = '\ufffd'

const ASCII = /^[\0-\x7f]*$/

/** The bytes of a name, a symlink's target or an xattr's name; undefined where the binding has lost some. */
export function bytesOf(text: string): Name | undefined {
  if (ASCII.test(text)) return text
  if (text.includes(REPLACEMENT)) return undefined
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** The text of a name; undefined where the binding could not hand it on, or take it back. */
export function textOf(name: Name): string | undefined {
  if (ASCII.test(name)) return name
  const bytes = Buffer.from(name, 'latin1')
  if (!isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  return text.includes(REPLACEMENT) ? undefined : text
}
