/** What work costs as it grows, in plots: none should be steeper than the work, and lookups flat in the number of layers. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { daemonOf, rssOf } from './measure.js'
import type { Plot } from './picture.js'
import { median } from './report.js'
import { must, shell } from './run.js'
import { mount, type Place, type System, unmount } from './systems.js'

interface Experiment {
  title: string
  xLabel: string
  sizes: readonly number[]
  /** Makes the lowers for one size in an empty directory. @returns them, topmost first */
  make(dir: string, size: number): string[]
  /** Lines of bash, run in the mount one after the other: a series each. */
  steps: readonly { name: string; run: string }[]
}

const each = (count: number, line: string): string => `for ((i = 0; i < ${count}; i++)); do ${line}; done`

const EXPERIMENTS: readonly Experiment[] = [
  {
    title: 'find over a tree',
    xLabel: 'files, a hundred to a directory',
    sizes: [1000, 10_000, 100_000, 1_000_000],
    make(dir, size) {
      must(each(size / 100, `mkdir -p l/$((i / 100))/$i && (cd l/$((i / 100))/$i && touch f{0..99})`), {
        cwd: dir,
      })
      return [join(dir, 'l')]
    },
    steps: [{ name: 'cold', run: 'find . -size +1M > /dev/null' }],
  },
  {
    title: 'stat of 2,000 files of the lowest layer',
    xLabel: 'layers',
    sizes: [1, 10, 100, 500],
    make(dir, size) {
      must(`${each(size, 'mkdir -p $i/d')}; cd $((${size} - 1))/d && touch f{0..1999}`, { cwd: dir })
      return Array.from({ length: size }, (_, i) => join(dir, String(i)))
    },
    steps: [
      { name: 'cold', run: 'cd d && stat -c %s f{0..1999} > /dev/null' },
      { name: 'warm', run: 'cd d && stat -c %s f{0..1999} > /dev/null' },
    ],
  },
  {
    title: 'a directory listed, and made in',
    xLabel: 'entries of the directory',
    sizes: [100, 1000, 10_000, 100_000, 1_000_000],
    make(dir, size) {
      must(`mkdir -p l/d && cd l/d && seq 1 ${size} | sed s/^/f/ | xargs touch`, { cwd: dir })
      return [join(dir, 'l')]
    },
    steps: [
      { name: 'ls -l', run: 'ls -l d > /dev/null' },
      { name: '100 creates', run: `cd d && ${each(100, ': > new$i')}` },
    ],
  },
  {
    title: 'copy-up of a file',
    xLabel: 'KiB',
    sizes: [1, 10, 100, 1000, 10_000, 100_000, 1_000_000],
    make(dir, size) {
      must(`mkdir l && head -c ${size * 1024} /dev/zero | tr '\\0' x > l/file`, { cwd: dir })
      return [join(dir, 'l')]
    },
    steps: [{ name: 'append', run: 'echo more >> file' }],
  },
]

/** Runs every experiment on every system. */
export function growth(
  chosen: readonly System[],
  under: string,
  rounds: number,
  say: (line: string) => void,
): Plot[] {
  return EXPERIMENTS.map((e) => {
    const times = new Map<string, Map<number, number[]>>()
    for (const size of e.sizes) {
      const dir = join(under, `growth-${process.pid}`)
      rmSync(dir, { recursive: true, force: true })
      mkdirSync(join(dir, 'data'), { recursive: true })
      try {
        const lowers = e.make(join(dir, 'data'), size)
        must(`chmod -R a+rX ${dir}`)
        for (let round = 0; round < rounds; round++)
          for (const system of chosen.filter((s) => s.mounts && (s.copiesUp || e.title.includes('find'))))
            once(system, e, size, { dir, lowers }, times, say)
      } finally {
        rmSync(dir, { recursive: true, force: true })
      }
    }
    const series = [...times].map(([name, bySize]) => ({
      name,
      points: [...bySize].map(([size, list]): [number, number] => [size, median(list)]),
    }))
    return { title: e.title, xLabel: e.xLabel, series }
  })
}

function once(
  system: System,
  e: Experiment,
  size: number,
  at: { dir: string; lowers: readonly string[] },
  times: Map<string, Map<number, number[]>>,
  say: (line: string) => void,
): void {
  const path = (name: string): string => join(at.dir, name)
  must(`cd ${at.dir} && rm -rf upper work mnt && mkdir upper work mnt && chmod a+rwx upper work mnt`)
  const place: Place = {
    ...at,
    plain: '',
    upper: path('upper'),
    work: path('work'),
    mnt: path('mnt'),
    writes: true,
  }
  try {
    mount(system, place)
  } catch (error) {
    say(`${e.title}, ${size}: ${error instanceof Error ? error.message : String(error)}`)
    return
  }
  try {
    for (const step of e.steps) {
      const ran = shell(`cd ${place.mnt} && ${step.run}`, { asUser: system.asUser })
      if (!ran.ok) {
        say(`${e.title}, ${size}, ${system.name}: ${ran.said}`)
        continue
      }
      const name = e.steps.length === 1 ? system.name : `${system.name}, ${step.name}`
      const bySize = times.get(name) ?? new Map<number, number[]>()
      times.set(name, bySize)
      bySize.set(size, [...(bySize.get(size) ?? []), ran.ms])
    }
    const pid = daemonOf(place.mnt)
    const memory = pid === undefined ? '' : `, ${rssOf(pid).toFixed(0)} MiB`
    say(`${e.title}, ${size}, ${system.name}${memory}`)
  } finally {
    unmount(system, place.mnt)
  }
}
