/** The change of one text file as a unified diff. */

import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff'

/** Larger files are not compared line by line. */
export const MAX_TEXT_BYTES = 4 * 1024 * 1024

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** What a file holds as text; undefined where it is none. */
export function textIn(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** A path in a header: quoted where a line break or a control character would end it. */
const quoted = (path: string): string =>
  [...path].some((char) => char < ' ' || char === '"' || char === '\\') ? JSON.stringify(path) : path

/**
 * @param path from the root, without a leading slash
 * @param before null: there was no file; undefined: it was no text. @param after as `before`
 * @returns empty where nothing differs
 */
export function filePatch(
  path: string,
  before: string | undefined | null,
  after: string | undefined | null,
): string {
  const from = before === null ? '/dev/null' : quoted(`a/${path}`)
  const to = after === null ? '/dev/null' : quoted(`b/${path}`)
  if (before === undefined || after === undefined) return `Binary files ${from} and ${to} differ\n`
  if ((before ?? '') === (after ?? '')) return ''
  const options = { context: 3, headerOptions: FILE_HEADERS_ONLY }
  return createTwoFilesPatch(from, to, before ?? '', after ?? '', undefined, undefined, options)
}
