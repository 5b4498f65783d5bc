/** The command line through yargs. */
import yargs, { type Argv } from 'yargs'
import { LayerfsError } from '../errors.js'
import { nearest } from '../tokens.js'
import { COMMANDS } from './main.js'
import { version } from './version.js'

/** Runs what the words ask for. @returns the exit code. @throws LayerfsError */
export async function parse(words: readonly string[]): Promise<number> {
  let code: number | undefined
  await parser(words, (result) => {
    code = result
  }).parseAsync()
  return code ?? 0
}

/** yargs with all commands. @param done called with a command's exit code */
export function parser(words: readonly string[], done: (code: number | undefined) => void): Argv {
  const name = words.find((word) => !word.startsWith('-'))
  let all = yargs([...words])
    .scriptName('layerfs')
    .locale('en')
    .usage('$0 COMMAND\n\nStacked directories as one writable tree, over FUSE.')
    .version(version())
    .alias({ h: 'help', V: 'version' })
    .completion('completion', 'print a completion script for bash or zsh: layerfs completion >> ~/.bashrc')
    .demandCommand(1, 'no command given')
    .parserConfiguration({ 'boolean-negation': false, 'camel-case-expansion': false, 'dot-notation': false })
    .strict()
    .wrap(100)
    .exitProcess(false)
    .fail((message, error) => {
      if (error) throw error
      throw new LayerfsError('USAGE', explain(message, words, name))
    })
  for (const row of Object.values(COMMANDS)) {
    all = all.command({
      command: row.usage,
      describe: row.describe,
      builder: async (inner: Argv) => (await row.load()).build(inner),
      handler: async (argv: Record<string, unknown>) => done(await (await row.load()).run(argv)),
    })
  }
  return all
}

/** What is wrong and what to do, in one line. */
function explain(message: string, words: readonly string[], name: string | undefined): string {
  const known = name !== undefined && Object.hasOwn(COMMANDS, name)
  const help = known ? `layerfs ${name} --help` : 'layerfs --help'
  if (name !== undefined && !known) {
    const like = nearest(name, [...Object.keys(COMMANDS), 'completion'])
    return `unknown command "${name}": ${like === undefined ? `see ${help}` : `did you mean ${like}?`}`
  }
  const unknown = /^Unknown arguments?: ([^,]+)/.exec(message)?.[1]
  if (unknown !== undefined) {
    const given = words.find((word) => word.replace(/^--?/, '').split('=')[0] === unknown) ?? unknown
    return `unknown argument "${given.split('=')[0]}": see ${help}`
  }
  const missing = /^Not enough non-option arguments/.test(message)
  return `${missing ? 'a word is missing' : message.replaceAll(/\s*\n\s*/g, ' ').replace(/[.:]$/, '')}: see ${help}`
}
