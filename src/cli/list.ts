/** `layerfs list`: the mounts, from the kernel's table and from their own answers. */
import type { Argv } from 'yargs'
import { ENOTCONN } from '../abi/linux.js'
import type { MountStatus } from '../compose.js'
import { errnoName } from '../errors.js'
import { bytesOf } from '../sys/libc.js'
import { readXattrOf } from '../sys/xattr.js'
import { STATUS } from './ask.js'
import { age, type Command, flagOf, print, printJson, table } from './command.js'
import { layerfsMounts } from './mounted.js'

/** What the kernel's table says, and what the mount says of itself where it answers. */
interface Listed extends Partial<MountStatus> {
  mountpoint: string
  type: string
  source: string
  readOnly: boolean
  /** `live`; `dead`: the daemon is gone; else the errno of the question for its status. */
  state: string
}

export function listed(): Listed[] {
  return layerfsMounts().map((m) => {
    const answer = readXattrOf(bytesOf(`${m.mountpoint}/`), STATUS)
    const state = typeof answer === 'string' ? 'live' : answer === -ENOTCONN ? 'dead' : errnoName(answer)
    return {
      mountpoint: m.mountpoint,
      type: m.type,
      source: m.source,
      readOnly: m.options.includes('ro'),
      state,
      ...(typeof answer === 'string' ? (JSON.parse(answer) as Partial<MountStatus>) : {}),
    }
  })
}

function rows(all: readonly Listed[]): string[] {
  const head = ['MOUNTPOINT', 'STATE', 'TRANSPORT', 'PID', 'AGE', 'STACK']
  const body = all.map((m) => [
    m.mountpoint,
    m.state,
    m.transport ?? '-',
    m.pid === undefined ? '-' : String(m.pid),
    m.started === undefined ? '-' : age((Date.now() - m.started) / 1000),
    [...(m.upper === undefined ? [] : [`${m.upper} (upper)`]), ...(m.lower ?? [])].join(' : ') || '-',
  ])
  return table([head, ...body])
}

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage('$0 list\n\nThe mounts of layerfs in this mount namespace, topmost layer first.')
      .option('json', { type: 'boolean', describe: 'as JSON' }),
  run(words) {
    const all = listed()
    if (flagOf(words, 'json')) printJson(all)
    else if (all.length > 0) print(...rows(all))
    return 0
  },
}
