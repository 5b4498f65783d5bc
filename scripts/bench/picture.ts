/** Pictures of results, as SVG. */
import { geometricMean, type Results, ratio } from './report.js'

const COLOURS = ['#1f6feb', '#8b949e', '#bf8700', '#1a7f37', '#8250df', '#cf222e'] as const
const FONT = 'font-family="sans-serif" font-size="12"'

const escaped = (words: string): string => words.replace(/&/g, '&amp;').replace(/</g, '&lt;')

const text = (x: number, y: number, words: string, more = ''): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${FONT} fill="#1f2328" ${more}>${escaped(words)}</text>`

const svg = (width: number, height: number, title: string, parts: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(10, 20, title, 'font-weight="bold"'),
    ...parts,
    '</svg>',
    '',
  ].join('\n')

/** Each workload's time as a multiple of fuse-overlayfs's, on a logarithmic axis: left of 1 is faster. */
export function comparison(r: Results): string {
  const base = 'fuse-overlayfs'
  const shown = ['layerfs', 'layerfs-host-all', 'overlayfs', 'mergerfs', 'unionfs-fuse'].filter((s) =>
    r.systems.includes(s),
  )
  const left = 150
  const width = 900
  const rowHeight = 20
  const top = 60
  const height = top + r.rows.length * rowHeight + 40
  const low = Math.log10(1 / 64)
  const high = Math.log10(16)
  const x = (value: number): number =>
    left + ((Math.min(Math.max(Math.log10(value), low), high) - low) / (high - low)) * (width - left - 20)
  const parts: string[] = []
  for (const [i, system] of shown.entries()) {
    const mean = geometricMean(r.rows, system, base).mean
    const at = 10 + i * 178
    parts.push(`<circle cx="${at + 5}" cy="38" r="5" fill="${COLOURS[i]}"/>`)
    parts.push(text(at + 15, 42, `${system} (mean ${mean.toFixed(2)})`))
  }
  for (const value of [1 / 64, 1 / 16, 1 / 4, 1, 4, 16]) {
    const at = x(value)
    const colour = value === 1 ? '#1f2328' : '#d0d7de'
    parts.push(`<line x1="${at}" y1="${top - 8}" x2="${at}" y2="${height - 30}" stroke="${colour}"/>`)
    parts.push(text(at, height - 14, value < 1 ? `1/${1 / value}` : String(value), 'text-anchor="middle"'))
  }
  for (const [i, row] of r.rows.entries()) {
    const y = top + i * rowHeight + 8
    parts.push(text(left - 10, y + 4, row.name, 'text-anchor="end"'))
    for (const [k, system] of [...shown.entries()].reverse()) {
      const value = ratio(row, system, base)
      if (value !== undefined)
        parts.push(
          `<circle cx="${x(value).toFixed(1)}" cy="${y}" r="${k === 0 ? 5 : 4}" fill="${COLOURS[k]}" fill-opacity="${k === 0 ? 1 : 0.7}"/>`,
        )
    }
  }
  return svg(width, height, `Time as a multiple of ${base}'s (${r.date}, layerfs ${r.version})`, parts)
}

export interface Series {
  name: string
  /** Work, and milliseconds. */
  points: [number, number][]
}

export interface Plot {
  title: string
  xLabel: string
  series: Series[]
}

/** Plots on logarithmic axes, below each other; the dashed line grows as the work does. */
export function plots(list: readonly Plot[], caption: string): string {
  const width = 720
  const each = 280
  const parts: string[] = []
  for (const [i, plot] of list.entries()) parts.push(...one(plot, 40 + i * each, width, each))
  return svg(width, 40 + list.length * each, caption, parts)
}

function one(plot: Plot, top: number, width: number, height: number): string[] {
  const points = plot.series.flatMap((s) => s.points)
  const [left, right, up, down] = [70, width - 190, top + 30, top + height - 50]
  const range = (values: number[]): [number, number] => [
    Math.floor(Math.log10(Math.max(0.001, Math.min(...values)))),
    Math.ceil(Math.log10(Math.max(...values))),
  ]
  const [x0, x1] = range(points.map(([w]) => w))
  const [y0, y1] = range(points.map(([, ms]) => ms))
  const x = (w: number): number => left + ((Math.log10(w) - x0) / Math.max(1, x1 - x0)) * (right - left)
  const y = (ms: number): number =>
    down - ((Math.log10(Math.max(0.001, ms)) - y0) / Math.max(1, y1 - y0)) * (down - up)
  const parts = [text(left, top + 18, plot.title)]
  for (let power = x0; power <= x1; power++) {
    parts.push(
      `<line x1="${x(10 ** power)}" y1="${up}" x2="${x(10 ** power)}" y2="${down}" stroke="#d0d7de"/>`,
    )
    parts.push(text(x(10 ** power), down + 16, String(10 ** power), 'text-anchor="middle"'))
  }
  for (let power = y0; power <= y1; power++) {
    parts.push(
      `<line x1="${left}" y1="${y(10 ** power)}" x2="${right}" y2="${y(10 ** power)}" stroke="#d0d7de"/>`,
    )
    parts.push(text(left - 6, y(10 ** power) + 4, `${10 ** power} ms`, 'text-anchor="end"'))
  }
  parts.push(text((left + right) / 2, down + 34, plot.xLabel, 'text-anchor="middle"'))
  for (const [k, series] of plot.series.entries()) {
    const colour = COLOURS[k % COLOURS.length] as string
    const line = series.points.map(([w, ms]) => `${x(w).toFixed(1)},${y(ms).toFixed(1)}`).join(' ')
    parts.push(`<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    for (const [w, ms] of series.points)
      parts.push(`<circle cx="${x(w).toFixed(1)}" cy="${y(ms).toFixed(1)}" r="3" fill="${colour}"/>`)
    parts.push(text(right + 10, up + 14 + k * 18, series.name, `style="fill:${colour}"`))
  }
  return parts
}
