/** A command line as libfuse's programs have it: `-o` in both spellings and repeated, short switches, the last positional counts. */
import { LayerfsError } from '../errors.js'
import { type OptionWord, splitOptions } from '../tokens.js'

export interface CompatWords {
  help: boolean
  version: boolean
  foreground: boolean
  debug: boolean
  /** Of all `-o` strings, in their order. */
  options: OptionWord[]
  /** A source may stand before the mountpoint, as mount.fuse3(8) gives it. */
  positionals: string[]
  /** Words of no meaning here, as they were given. */
  unknown: string[]
}

/** @throws LayerfsError USAGE where `-o` stands last */
export function readWords(argv: readonly string[]): CompatWords {
  const words: CompatWords = {
    help: false,
    version: false,
    foreground: false,
    debug: false,
    options: [],
    positionals: [],
    unknown: [],
  }
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string
    if (word === '--') {
      words.positionals.push(...argv.slice(i + 1))
      break
    }
    if (word.startsWith('-o')) {
      const value = word.length > 2 ? word.slice(2) : argv[++i]
      if (value === undefined) throw new LayerfsError('USAGE', 'missing argument after -o: give OPTIONS')
      words.options.push(...splitOptions(value))
    } else if (!word.startsWith('-') || word === '-') words.positionals.push(word)
    else setSwitch(words, word)
  }
  return words
}

function setSwitch(words: CompatWords, word: string): void {
  switch (word) {
    case '-h':
    case '--help':
      words.help = true
      break
    case '-V':
    case '--version':
      words.version = true
      break
    case '-f':
      words.foreground = true
      break
    case '-d':
    case '--debug':
      words.debug = true
      words.foreground = true
      break
    case '-s':
      // One request at a time is how it works anyway.
      break
    default:
      words.unknown.push(word)
  }
}
