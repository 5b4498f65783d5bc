/** `layerfs list`: the mounts, from the kernel's table and from their own answers. */
import type { Argv } from 'yargs'
import { ENOTCONN } from '../abi/linux.js'
import type { MountStatus } from '../compose.js'
import { errnoName } from '../errors.js'
import { age, type Command, flagOf, print, printJson, table } from './command.js'
import { type Answer, inquire } from './inquiry.js'
import { layerfsMounts } from './mounted.js'

/** What the kernel's table says, and what the mount says of itself where it answers. */
interface Listed extends Partial<MountStatus> {
  mountpoint: string
  type: string
  source: string
  readOnly: boolean
  /** `live`; `dead`: the daemon is gone; `silent`: it does not answer; else the errno of the question for its status. */
  state: string
}

async function listed(): Promise<Listed[]> {
  const all = layerfsMounts()
  const answers = await inquire(all.map((m) => m.mountpoint))
  return all.map((m, i) => ({
    mountpoint: m.mountpoint,
    type: m.type,
    source: m.source,
    readOnly: m.options.includes('ro'),
    state: stateOf(answers[i]),
    ...(typeof answers[i] === 'string' ? (JSON.parse(answers[i]) as Partial<MountStatus>) : {}),
  }))
}

function stateOf(answer: Answer): string {
  if (typeof answer === 'string') return 'live'
  if (answer === undefined) return 'silent'
  return answer === -ENOTCONN ? 'dead' : errnoName(answer)
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
      .usage(
        '$0 list\n\nThe mounts of layerfs in this mount namespace, topmost layer first. A mount is live, dead where its daemon is gone, or silent where it does not answer.',
      )
      .option('json', { type: 'boolean', describe: 'as JSON' }),
  async run(words) {
    const all = await listed()
    if (flagOf(words, 'json')) printJson(all)
    else if (all.length > 0) print(...rows(all))
    return 0
  },
}
