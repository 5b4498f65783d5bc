/** Command lines so plain that they need no yargs, which takes longer to load than a small export to make. */
import type { Words } from './command.js'

/** What may stand in a plain command line. Whatever else does is for yargs. */
export interface PlainFlags {
  /** Flags with a value in the next word. */
  valued: readonly string[]
  bare: readonly string[]
  /** The name of the positionals. */
  positionals: string
}

/** The words as yargs would give them; undefined where it must read them itself. */
export function plainWords(words: readonly string[], flags: PlainFlags): Words | undefined {
  const read: Record<string, unknown> = {}
  const paths: string[] = []
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (!word.startsWith('-')) {
      paths.push(word)
      continue
    }
    const name = word.slice(2)
    const value = words[i + 1]
    if (flags.bare.includes(name) && word === `--${name}`) read[name] = true
    else if (
      flags.valued.includes(name) &&
      word === `--${name}` &&
      value !== undefined &&
      !value.startsWith('-')
    ) {
      read[name] = [...((read[name] as string[] | undefined) ?? []), value]
      i++
    } else return undefined
  }
  if (paths.length === 0) return undefined
  return { ...read, [flags.positionals]: paths }
}
