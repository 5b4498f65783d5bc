/** What a launcher starts (bin/launch.sh): the program that reads the command line and becomes the daemon. */
import './early.js'
import { mountAsHelper, main as mountFuse } from '../compat/helper.js'
import { main as fuseLayerfs } from '../compat/main.js'
import { readMountFlags } from './flags.js'
import { report } from './report.js'
import { start } from './start.js'

const OTHERS: Readonly<Record<string, (words: readonly string[]) => Promise<void>>> = {
  'fuse-layerfs': fuseLayerfs,
  'mount.fuse.layerfs': mountFuse,
}

/** @returns false where the words ask for help alone, which is the whole program's to give */
export async function launched(program: string, words: readonly string[]): Promise<boolean> {
  const other = OTHERS[program]
  if (other !== undefined) {
    await other(words)
    return true
  }
  let isMount = true
  await report(async () => {
    if (words[0] !== 'mount') return mountAsHelper(words)
    const asked = readMountFlags(words.slice(1))
    isMount = asked !== undefined
    return asked === undefined ? 0 : start(asked)
  })
  return isMount
}
