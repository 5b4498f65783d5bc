/** `layerfs commit`. */
import type { Argv } from 'yargs'
import { type CommitOptions, commitUpper } from '../commit/commit.js'
import type { LinkMode } from '../export/place.js'
import { parseLayer } from '../options.js'
import { type Command, flagOf, print, printJson, stringOf } from './command.js'
import { valuesOf } from './layers.js'
import { interruptible } from './progress.js'

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 commit UPPER LAYER\n\nMakes LAYER a copy of UPPER as a layer, its whiteouts and opaque directories as they are. The upper may not be mounted meanwhile.',
      )
      .positional('upper', { type: 'string', demandOption: true, describe: 'the upper to freeze' })
      .positional('layer', { type: 'string', demandOption: true, describe: 'the layer to make' })
      .options({
        lower: {
          type: 'string',
          requiresArg: true,
          describe: 'DIR: a layer beneath, the topmost first; what equals what they show is left out',
        },
        link: {
          choices: ['auto', 'only', 'clone', 'copy'],
          default: 'clone',
          describe: 'auto links the files: for an upper that is not written again',
        },
        into: { type: 'boolean', describe: 'LAYER is an empty directory, which is replaced' },
        json: { type: 'boolean', describe: 'the summary as JSON' },
      }),
  run: (words) =>
    interruptible(async (signal) => {
      const lower = valuesOf(words, 'lower').map(parseLayer)
      const options: CommitOptions = {
        link: stringOf(words, 'link') as LinkMode,
        into: flagOf(words, 'into'),
        signal,
        ...(lower.length === 0 ? {} : { lower }),
      }
      const done = await commitUpper(stringOf(words, 'upper'), stringOf(words, 'layer'), options)
      if (flagOf(words, 'json')) printJson(done)
      else
        print(
          `${done.out}: ${done.directories} directories, ${done.files} files and whiteouts, ${done.dropped} left out (${done.seconds.toFixed(2)} s)`,
        )
      return 0
    }),
}
