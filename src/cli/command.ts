/** What each command's file exports, and what the commands share. */
import { writeSync } from 'node:fs'
import type { Argv } from 'yargs'

/** The words that yargs read, by name: the positionals and flags that `build` declared. */
export type Words = Readonly<Record<string, unknown>>

export interface Command {
  /** Declares positionals and flags. */
  build(yargs: Argv): Argv
  /** @returns the exit code, 0 where it returns nothing. @throws LayerfsError */
  run(words: Words): Promise<number | undefined> | number | undefined
}

/** A word that `build` declared as a required string. */
export const stringOf = (words: Words, name: string): string => String(words[name])

/** A word that `build` declared as an optional string; undefined where it was not given. */
export const optionalOf = (words: Words, name: string): string | undefined =>
  words[name] === undefined ? undefined : String(words[name])

export const flagOf = (words: Words, name: string): boolean => words[name] === true

/** Writes lines to standard output, at once and in full. A reader that went away is no failure. */
export function print(...lines: string[]): void {
  let rest = Buffer.from(`${lines.join('\n')}\n`)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EPIPE') return
      if (code !== 'EAGAIN') throw error
    }
  }
}

export const printJson = (value: unknown): void => print(JSON.stringify(value, undefined, 2))

/** Rows as columns, two spaces apart, the last one ragged. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  '),
  )
}

/** Seconds as a person says them: 42s, 3m, 5h, 12d. */
export function age(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds))
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m`
  return s < 86400 ? `${Math.floor(s / 3600)}h` : `${Math.floor(s / 86400)}d`
}

/** Bytes in binary units, with at most one decimal: 512 B, 1.5 KiB, 12 MiB. */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = n
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  const rounded = value < 10 && unit > 0 ? Math.round(value * 10) / 10 : Math.round(value)
  return `${rounded} ${units[unit]}`
}
