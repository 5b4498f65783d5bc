/** `layerfs stats`: requests by kind, time, and what the engine holds. */
import type { Argv } from 'yargs'
import { XATTR_STATS } from '../abi/layerfs.js'
import { bytesOf } from '../sys/libc.js'
import { ask } from './ask.js'
import { bytes, type Command, flagOf, print, printJson, stringOf, table } from './command.js'
import { layerfsAt } from './mounted.js'

type Numbers = Readonly<Record<string, unknown>>

const isRecord = (value: unknown): value is Numbers =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Scalars first, by their names; then a table a group. Names that end in `bytes` are shown in binary units. */
export function render(stats: Numbers): string[] {
  const scalars = Object.entries(stats).filter(([, value]) => !isRecord(value))
  const groups = Object.entries(stats).filter(([name, value]) => isRecord(value) && name !== 'ops')
  const lines = table(scalars.map(([name, value]) => [spaced(name), shown(name, value)]))
  for (const [name, value] of groups) {
    lines.push('', `${spaced(name)}:`)
    lines.push(...table(Object.entries(value as Numbers).map(([k, v]) => [`  ${spaced(k)}`, shown(k, v)])))
  }
  if (isRecord(stats.ops)) lines.push('', ...operations(stats.ops))
  return lines
}

/** Kinds of request, the costliest first. */
function operations(ops: Numbers): string[] {
  const rows = Object.entries(ops)
    .map(([name, value]) => {
      const { count, ms } = isRecord(value) ? value : {}
      return { name, count: Number(count ?? 0), ms: Number(ms ?? 0) }
    })
    .sort((a, b) => b.ms - a.ms || b.count - a.count)
  const body = rows.map((r) => [
    r.name,
    String(r.count),
    r.ms.toFixed(1),
    r.count === 0 ? '-' : ((r.ms * 1000) / r.count).toFixed(1),
  ])
  return table([['REQUEST', 'COUNT', 'MS', 'US EACH'], ...body])
}

/** `bytesRead` -> `bytes read` */
const spaced = (name: string): string =>
  name.replace(/[A-Z]/g, (c, at: number) => (at === 0 ? c : ` ${c.toLowerCase()}`))

function shown(name: string, value: unknown): string {
  if (typeof value === 'number' && /bytes|memory|rss/i.test(name)) return bytes(value)
  return typeof value === 'string' ? value : JSON.stringify(value)
}

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage('$0 stats MOUNTPOINT\n\nRequests by kind and time, caches, copy-ups, memory.')
      .positional('mountpoint', { type: 'string', demandOption: true, describe: 'where it is mounted' })
      .option('json', { type: 'boolean', describe: 'as JSON' }),
  run(words) {
    const { mountpoint } = layerfsAt(stringOf(words, 'mountpoint'))
    const stats = JSON.parse(ask(bytesOf(`${mountpoint}/`), XATTR_STATS)) as Numbers
    if (flagOf(words, 'json')) printJson(stats)
    else print(...render(stats))
    return 0
  },
}
