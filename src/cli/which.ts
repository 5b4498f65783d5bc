/** `layerfs which`: the layers that have a say in what is seen at a path. */
import { readFileSync } from 'node:fs'
import type { Argv } from 'yargs'
import { bytesOf } from '../sys/libc.js'
import { ask, WHICH } from './ask.js'
import { type Command, flagOf, print, printJson, stringOf, table } from './command.js'

/** What one layer holds of a path. */
export interface Holding {
  /** `upper`, or `lower N` counted from the topmost, 0. */
  layer: string
  /** The file in that layer. */
  path: string
  /** `provides`, `merged`, `hidden`, `whiteout`, `opaque`. */
  state: string
}

/**
 * The bytes of an argument. Node reads arguments as UTF-8 and loses other bytes; the kernel has kept them.
 * @param text the argument as Node has it
 */
function argumentBytes(text: string): string {
  if (!text.includes('\ufffd')) return bytesOf(text)
  const given = readFileSync('/proc/self/cmdline', 'latin1').split('\0')
  return given.find((word) => Buffer.from(word, 'latin1').toString('utf8') === text) ?? bytesOf(text)
}

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 which PATH\n\nWhich layer provides this file, and what the layers beneath hold. Works for every user who may read it.',
      )
      .positional('path', { type: 'string', demandOption: true, describe: 'a file on a mounted tree' })
      .option('json', { type: 'boolean', describe: 'as JSON' }),
  run(words) {
    const holdings = JSON.parse(ask(argumentBytes(stringOf(words, 'path')), WHICH)) as Holding[]
    if (flagOf(words, 'json')) printJson(holdings)
    else print(...table(holdings.map((h) => [h.state, h.layer, h.path])))
    return 0
  },
}
