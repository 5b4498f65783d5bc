/** `layerfs doctor`: what this machine offers for mounting, what it means, and what to do about the rest. */
import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import type { Argv } from 'yargs'
import { type Command, flagOf, optionalOf, print, printJson } from './command.js'
import { type Finding, probe } from './probes.js'

const MARKS: Readonly<Record<Finding['state'], string>> = { yes: 'yes', limited: 'limited', no: 'no' }

function render(findings: readonly Finding[]): string[] {
  return findings.flatMap((f) => [
    `${MARKS[f.state].padEnd(8)} ${f.name}: ${f.found}`,
    `         ${f.means}`,
    ...(f.advice === undefined ? [] : [`         To do: ${f.advice}`]),
  ])
}

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage('$0 doctor\n\nExits 0 where this user can mount on this machine.')
      .option('dir', {
        type: 'string',
        requiresArg: true,
        describe: 'directory whose filesystem uppers will stand on; the temporary directory by default',
      })
      .option('json', { type: 'boolean', describe: 'as JSON' }),
  run(words) {
    const findings = probe(resolve(optionalOf(words, 'dir') ?? tmpdir()))
    if (flagOf(words, 'json')) printJson(findings)
    else print(...render(findings))
    const blocking = findings.find((f) => f.state === 'no' && f.blocks !== undefined)
    return blocking?.blocks ?? 0
  },
}
