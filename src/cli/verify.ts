/** `layerfs verify`. */
import type { Argv } from 'yargs'
import { verifyManifest } from '../export/manifest.js'
import { type Command, flagOf, printJson, stringOf } from './command.js'
import { Differences } from './differences.js'
import { interruptible } from './progress.js'

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 verify MANIFEST DIR\n\nChecks DIR against a manifest that layerfs export --manifest wrote: types, modes, owners, sizes, link targets, and contents by hash. Exits 1 where they differ.',
      )
      .positional('manifest', { type: 'string', demandOption: true, describe: 'file of JSON lines' })
      .positional('dir', { type: 'string', demandOption: true, describe: 'directory to check' })
      .option('json', { type: 'boolean', describe: 'as JSON' }),
  run: (words) =>
    interruptible(async (signal) => {
      const differences = new Differences()
      const compared = await verifyManifest(
        stringOf(words, 'manifest'),
        stringOf(words, 'dir'),
        (difference) => differences.add(difference),
        signal,
      )
      if (flagOf(words, 'json'))
        printJson({ compared, count: differences.count, differences: differences.all })
      else differences.print(compared)
      return differences.count > 0 ? 1 : 0
    }),
}
