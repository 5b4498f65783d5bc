/** `layerfs convert`. */
import type { Argv } from 'yargs'
import { type ConvertOptions, convertLayer } from '../commit/convert.js'
import type { WhiteoutForm } from '../union/layer.js'
import { type Command, flagOf, optionalOf, print, printJson, stringOf } from './command.js'
import { interruptible } from './progress.js'

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 convert DIR --whiteouts FORM [OUT]\n\nBrings the whiteouts and opaque marks of a layer into one form: overlay (char devices 0/0 and xattrs, as the kernel has them) or oci (files .wh.NAME). In place, where an interrupted conversion leaves a layer that shows the same and can be converted again; or into OUT, a copy by hard links.',
      )
      .positional('dir', { type: 'string', demandOption: true, describe: 'the layer' })
      .positional('out', { type: 'string', describe: 'a copy to make, the layer staying as it is' })
      .options({
        whiteouts: { choices: ['overlay', 'oci'], demandOption: true, describe: 'the form to convert to' },
        json: { type: 'boolean', describe: 'the summary as JSON' },
      }),
  run: (words) =>
    interruptible(async (signal) => {
      const out = optionalOf(words, 'out')
      const options: ConvertOptions = {
        whiteouts: stringOf(words, 'whiteouts') as WhiteoutForm,
        signal,
        ...(out === undefined ? {} : { out }),
      }
      const done = await convertLayer(stringOf(words, 'dir'), options)
      if (flagOf(words, 'json')) printJson(done)
      else
        print(
          `${done.path}: ${done.whiteouts} whiteouts, ${done.opaque} opaque directories (${done.seconds.toFixed(2)} s)`,
        )
      return 0
    }),
}
