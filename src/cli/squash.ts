/** `layerfs squash`. */
import type { Argv } from 'yargs'
import { squashLayers } from '../commit/squash.js'
import { LayerfsError } from '../errors.js'
import type { LinkMode } from '../export/place.js'
import type { WhiteoutForm } from '../union/layer.js'
import { type Command, flagOf, print, printJson, stringOf } from './command.js'
import { valuesOf } from './layers.js'
import { interruptible } from './progress.js'

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 squash LAYER... OUT\n\nMakes OUT the one layer that the layers, topmost first, are together: what they hide in layers beneath them stays hidden. For a tree without whiteouts see layerfs export.',
      )
      .positional('paths', { type: 'string', array: true, describe: 'LAYER... OUT' })
      .options({
        whiteouts: {
          choices: ['overlay', 'oci'],
          default: 'overlay',
          describe: 'form of the whiteouts of OUT',
        },
        link: {
          choices: ['auto', 'only', 'clone', 'copy'],
          default: 'auto',
          describe: 'as layerfs export takes it',
        },
        into: { type: 'boolean', describe: 'OUT is an empty directory, which is replaced' },
        json: { type: 'boolean', describe: 'the summary as JSON' },
      }),
  run: (words) =>
    interruptible(async (signal) => {
      const paths = valuesOf(words, 'paths')
      const out = paths.at(-1)
      if (out === undefined || paths.length < 2)
        throw new LayerfsError('USAGE', 'give the layers, topmost first, and then the directory to make')
      const done = await squashLayers(
        paths.slice(0, -1).map((path) => ({ path })),
        out,
        {
          whiteouts: stringOf(words, 'whiteouts') as WhiteoutForm,
          link: stringOf(words, 'link') as LinkMode,
          into: flagOf(words, 'into'),
          signal,
        },
      )
      if (flagOf(words, 'json')) printJson(done)
      else
        print(
          `${done.out}: ${done.directories} directories, ${done.files} files (${done.linked} linked), ${done.whiteouts} whiteouts, ${done.opaque} opaque (${done.seconds.toFixed(2)} s)`,
        )
      return 0
    }),
}
