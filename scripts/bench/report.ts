/** Medians and ratios, as tables. */
import type { Outcome, Sample } from './measure.js'

/** One row: a workload, cold or warm. By system: the samples of all rounds, or why there are none. */
export interface Row {
  name: string
  group: string
  cells: Record<string, Cell>
}

export type Cell = { median: Sample; samples: Sample[] } | { failed: string }

export interface Results {
  date: string
  version: string
  kernel: string
  node: string
  processors: number
  /** One-minute load average at the start and at the end: what else ran. */
  load: [number, number]
  rounds: number
  systems: string[]
  rows: Row[]
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? 0) + high) / 2
}

const middleOf = (samples: Sample[]): Sample => ({
  ms: median(samples.map((s) => s.ms)),
  requests: median(samples.map((s) => s.requests)),
  cpu: median(samples.map((s) => s.cpu)),
  rss: Math.max(...samples.map((s) => s.rss)),
})

export function cellOf(samples: Sample[], failed: string | undefined): Cell {
  return failed !== undefined || samples.length === 0
    ? { failed: failed ?? 'not run' }
    : { median: middleOf(samples), samples }
}

/** Rows of one workload: cold and warm, or the one of a workload that writes. */
export function rowsOf(
  name: string,
  group: string,
  outcomes: ReadonlyMap<string, Outcome[]>,
  failures: ReadonlyMap<string, string>,
): Row[] {
  const part = (label: string, pick: (o: Outcome) => Sample | undefined): Row => {
    const cells: Record<string, Cell> = {}
    for (const [system, list] of outcomes)
      cells[system] = cellOf(
        list.map(pick).filter((s) => s !== undefined),
        failures.get(system),
      )
    return { name: label, group, cells }
  }
  const warm = [...outcomes.values()].some((list) => list.some((o) => o.warm !== undefined))
  const first = part(name, (o) => o.cold)
  return warm ? [first, part(`${name}, again`, (o) => o.warm)] : [first]
}

const sampleAt = (row: Row, system: string): Sample | undefined => {
  const cell = row.cells[system]
  return cell === undefined || 'failed' in cell ? undefined : cell.median
}

/** Ratio of two systems' medians in one row. */
export function ratio(row: Row, of: string, to: string, field: keyof Sample = 'ms'): number | undefined {
  const a = sampleAt(row, of)
  const b = sampleAt(row, to)
  return a === undefined || b === undefined || b[field] === 0 ? undefined : a[field] / b[field]
}

/** Geometric mean over the rows that both systems have. */
export function geometricMean(rows: readonly Row[], of: string, to: string): { mean: number; rows: number } {
  const logs = rows
    .map((row) => ratio(row, of, to))
    .filter((r) => r !== undefined)
    .map(Math.log)
  return { mean: Math.exp(logs.reduce((sum, x) => sum + x, 0) / logs.length), rows: logs.length }
}

export const COMPARED: readonly [of: string, to: string][] = [
  ['layerfs', 'fuse-overlayfs'],
  ['layerfs', 'overlayfs'],
  ['layerfs', 'unionfs-fuse'],
  ['layerfs', 'mergerfs'],
  ['layerfs-host', 'fuse-overlayfs'],
  ['layerfs-host', 'layerfs'],
  ['layerfs-host-all', 'fuse-overlayfs'],
  ['layerfs-host-all', 'overlayfs'],
  ['layerfs-native', 'fuse-overlayfs'],
  ['layerfs-user', 'fuse-overlayfs-user'],
  ['layerfs-host-user', 'fuse-overlayfs-user'],
]

const short = (n: number | undefined, digits = 0): string => (n === undefined ? '-' : n.toFixed(digits))

/** Lines of one table, in Markdown, its columns aligned. */
export function table(cells: readonly (readonly string[])[]): string[] {
  const [head, ...body] = cells
  if (head === undefined) return []
  const widths = head.map((_, i) => Math.max(3, ...cells.map((line) => (line[i] ?? '').length)))
  const line = (words: readonly string[]): string =>
    `| ${words.map((w, i) => (i === 0 ? w.padEnd(widths[i] ?? 0) : w.padStart(widths[i] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((w, i) => (i === 0 ? '-'.repeat(w + 2) : `${'-'.repeat(w + 1)}:`)).join('|')}|`
  return [line(head), rule, ...body.map(line)]
}

function figures(r: Results, field: keyof Sample, digits: number, systems: readonly string[]): string[] {
  return table([
    ['', ...systems],
    ...r.rows.map((row) => [row.name, ...systems.map((s) => short(sampleAt(row, s)?.[field], digits))]),
  ])
}

/** All tables, with their headings. */
export function tables(r: Results): string[] {
  const served = r.systems.filter((s) => s !== 'plain' && s !== 'overlayfs')
  const compared = COMPARED.filter(([of, to]) => r.systems.includes(of) && r.systems.includes(to))
  const lines = [
    `layerfs ${r.version}, ${r.date}: Linux ${r.kernel}, Node ${r.node}, ${r.processors} processors, load ${r.load.join(' to ')}, ${r.rounds} rounds`,
    '',
    'Milliseconds, medians:',
    ...figures(r, 'ms', 0, r.systems),
    '',
    'Requests answered:',
    ...figures(r, 'requests', 0, served),
    '',
    "Milliseconds of the daemon's processor time:",
    ...figures(r, 'cpu', 0, served),
    '',
    "The daemon's largest resident memory, MiB:",
    ...figures(r, 'rss', 0, served),
  ]
  if (compared.length === 0) return lines
  lines.push(
    '',
    'Ratios of medians (below 1: the first is faster):',
    ...table([
      ['', ...compared.map(([of, to]) => `${of} / ${to}`)],
      ...r.rows.map((row) => [row.name, ...compared.map(([of, to]) => short(ratio(row, of, to), 2))]),
      ['geometric mean', ...compared.map(([of, to]) => short(geometricMean(r.rows, of, to).mean, 2))],
    ]),
  )
  const failures = r.rows.flatMap((row) =>
    Object.entries(row.cells).flatMap(([system, cell]) =>
      'failed' in cell ? [`${row.name} on ${system}: ${cell.failed}`] : [],
    ),
  )
  return failures.length === 0 ? lines : [...lines, '', 'Not measured:', ...failures]
}
