/**
 * The lexical level of option strings, apart from what the options mean: commas, colons, escapes and quotes as they
 * are met in the field. `-o` strings come through mount(8), libfuse and container engines, each of which adds a
 * layer of escapes, so `\:`, `\\:` and `\134:` all stand for a colon within a path.
 */

/** One option of an `-o` string. */
export interface OptionWord {
  name: string
  /** The value, unescaped; undefined for a bare word. */
  value?: string
  /** The value as it was written, for those that have separators of their own. */
  raw?: string
}

/** Splits at commas that are neither escaped nor within quotes, skipping empty words. */
export function splitOptions(line: string): OptionWord[] {
  const words: OptionWord[] = []
  for (const word of cut(line, true)) {
    if (word === '') continue
    const at = word.indexOf('=')
    if (at < 0) {
      words.push({ name: unescaped(word) })
      continue
    }
    const raw = unquote(word.slice(at + 1))
    words.push({ name: unescaped(word.slice(0, at)), value: unescaped(raw), raw })
  }
  return words
}

/** Splits at commas, leaving every escape as it stands. With `quotes`, one opens right behind `=` and ends at the next. */
function cut(line: string, quotes: boolean): string[] {
  const words: string[] = []
  let start = 0
  let quoted = false
  for (let i = 0; i < line.length; i++) {
    const c = line[i]
    if (c === '\\') i++
    else if (quotes && c === '"' && (quoted || line[i - 1] === '=')) quoted = !quoted
    else if (c === ',' && !quoted) {
      words.push(line.slice(start, i))
      start = i + 1
    }
  }
  words.push(line.slice(start))
  return words
}

const unquote = (raw: string): string =>
  raw.length >= 2 && raw.startsWith('"') && raw.endsWith('"') ? raw.slice(1, -1) : raw

/** `\ooo` is the character of that octal number (within ASCII), any other escaped character stands for itself. */
const unescaped = (text: string): string =>
  text.replace(/\\(?:([01][0-7]{2})|(.))/gs, (_, octal: string | undefined, char: string | undefined) =>
    octal === undefined ? (char ?? '') : String.fromCharCode(Number.parseInt(octal, 8)),
  )

/** Splits `A:B:C` of lowerdir into paths, skipping empty ones. */
export function splitPaths(raw: string): string[] {
  const paths: string[] = []
  let path = ''
  const pieces = /(?:\\134|\\\\|\\):|\\(?:[01][0-7]{2}|.)|:|[^\\:]+|\\$/gs
  for (const [piece] of raw.matchAll(pieces)) {
    if (piece === ':') {
      if (path !== '') paths.push(path)
      path = ''
    } else if (piece.length > 1 && piece.startsWith('\\') && piece.endsWith(':')) path += ':'
    else path += piece.startsWith('\\') ? unescaped(piece) : piece
  }
  if (path !== '') paths.push(path)
  return paths
}

/** The raw value of lowerdir that `splitPaths` reads back. A path that ends in a backslash gets a `/`. */
export function joinPaths(paths: readonly string[]): string {
  const escaped = (path: string) =>
    (path.endsWith('\\') ? `${path}/` : path).replace(/[\\:,"]/g, (c) => octal(c))
  return paths.map(escaped).join(':')
}

/** A word `name` or `name=value` for an `-o` string, its separators escaped. */
export const escapeOption = (word: string): string => word.replace(/[\\,"]/g, (c) => octal(c))

const octal = (c: string): string => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`

/** Splits `DIR,uidmap=...` at commas; only `\,` and `\\` are escapes there. */
export const splitSpec = (spec: string): string[] =>
  cut(spec, false).map((item) => item.replace(/\\([\\,])/g, '$1'))

/** A path as the first item of such a layer. */
export const escapeSpec = (path: string): string => path.replace(/[\\,]/g, '\\$&')

/** The known name that is at most three edits from `name`, the closest first. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Math.min(3, Math.max(1, name.length - 1)) + 1
  for (const candidate of known) {
    const d = distance(name, candidate)
    if (d < least) {
      least = d
      best = candidate
    }
  }
  return best
}

/** Edits (insert, delete, replace) from one word to another: Levenshtein. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replace, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
