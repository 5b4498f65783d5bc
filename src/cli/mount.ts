/** `layerfs mount` as yargs sees it: its help, its completion and what is wrong with its words. */
import type { Argv } from 'yargs'
import { type Command, stringOf } from './command.js'
import { type GivenFlag, MOUNT_FLAGS, mountCommand } from './flags.js'
import { start } from './start.js'

function build(yargs: Argv): Argv {
  let all = yargs
    .usage(
      '$0 mount [FLAGS] MOUNTPOINT\n\nReturns when the mount is ready; the daemon stays in the background.',
    )
    .positional('mountpoint', { type: 'string', demandOption: true, describe: 'directory to mount on' })
    .example('$0 mount --lower top --lower base --upper new --work work mnt', 'writes go to new')
    .example('$0 mount --lower base --ephemeral mnt', 'writes are gone at unmount')
    .example('$0 mount --lower base --uidmap 0:100000:65536 --gidmap 0:100000:65536 mnt', 'owners shifted')
  for (const [name, flag] of Object.entries(MOUNT_FLAGS)) {
    const describe = flag.value === undefined ? flag.describe : `${flag.value}: ${flag.describe}`
    all = all.option(name, {
      describe,
      group: `${flag.group}:`,
      ...(flag.value === undefined
        ? { type: 'boolean' as const }
        : { type: 'string' as const, requiresArg: true }),
      ...(flag.choices === undefined ? {} : { choices: flag.choices }),
    })
  }
  return all
}

export const command: Command = {
  build,
  run(words) {
    const flags: GivenFlag[] = []
    for (const [name, flag] of Object.entries(MOUNT_FLAGS)) {
      const given = words[name]
      if (given === undefined || given === false) continue
      for (const value of Array.isArray(given) ? given : [given])
        flags.push(flag.value === undefined ? { name } : { name, value: String(value) })
    }
    return start(mountCommand(flags, [stringOf(words, 'mountpoint')]))
  },
}
