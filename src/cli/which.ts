/** `layerfs which`: the layers that have a say in what is seen at a path. */
import { readFileSync } from 'node:fs'
import type { Argv } from 'yargs'
import { XATTR_WHICH } from '../abi/layerfs.js'
import { bytesOf } from '../sys/libc.js'
import type { Which } from '../union/which.js'
import { ask } from './ask.js'
import { type Command, flagOf, print, printJson, stringOf, table } from './command.js'

/** The provider first, then what is merged with it, then what is hidden beneath. */
function rows(w: Which): string[][] {
  const at = (place: { layer: string; path: string }) =>
    place.path === '' ? place.layer : `${place.layer}/${place.path}`
  return [
    ['provided by', w.upper ? 'the upper' : 'a lower', at(w)],
    ...w.merged.map((p) => ['merged with', p.kind, at(p)]),
    ...w.hidden.map((p) => ['hidden', p.kind, at(p)]),
  ]
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
    const answer = JSON.parse(ask(argumentBytes(stringOf(words, 'path')), XATTR_WHICH)) as Which
    if (flagOf(words, 'json')) printJson(answer)
    else print(...table(rows(answer)))
    return 0
  },
}
