/** The suites of others, as they stand installed: how each is run over a place and its output read. */
import fs from 'node:fs'
import path from 'node:path'
import { differences, snapshot } from '../../test/support/tree.js'
import { apt } from './apt.js'
import { fio } from './fio.js'
import { ltp } from './ltp.js'
import { npm } from './npm.js'
import { postgres } from './postgres.js'
import type { Score, Suite } from './score.js'
import { LAYOUTS, type Place, run, type System, TOP } from './systems.js'
import { xfstests } from './xfstests.js'

const SEEDS = [1, 2, 3, 4, 5, 6]
const FSX_OPERATIONS = 60_000
const FSSTRESS_OPERATIONS = 2000

/** Test scripts in the format of TAP, below `tests/`. Each makes and removes its files in the working directory. */
function pjdfstest(installed: string, place: Place): Score {
  const score: Score = { ran: 0, failed: new Map() }
  const tests = path.join(installed, 'tests')
  const files = fs.readdirSync(tests, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.t'))
  for (const file of files.sort()) {
    const { output } = run(['sh', path.join(tests, file)], { cwd: place.dir, minutes: 5 })
    const planned = Number(/^1\.\.(\d+)/m.exec(output)?.[1] ?? 0)
    const results = [...output.matchAll(/^(not )?ok (\d+)(.*)$/gm)]
    score.ran += planned
    for (const [, not, number, rest] of results)
      if (not !== undefined && !/# *todo/i.test(rest ?? ''))
        score.failed.set(`${file}:${number}`, rest?.trim() ?? '')
    if (results.length !== planned) score.failed.set(file, `${results.length} of ${planned} results`)
  }
  return score
}

/** How unionmount-testsuite is told to mount each system; those that keep an index have inode numbers and links verified. */
const UNIONMOUNT: Partial<Record<System, { words: string[]; options: string; indexed: boolean }>> = {
  layerfs: { words: ['--fuse=fuse-layerfs'], options: 'redirect_dir=on', indexed: true },
  'layerfs-all': {
    words: ['--fuse=fuse-layerfs'],
    options: 'redirect_dir=on,passthrough=all',
    indexed: true,
  },
  'fuse-native': {
    words: ['--fuse=fuse-layerfs'],
    options: 'redirect_dir=on,transport=fuse-native',
    indexed: false,
  },
  overlay: { words: [], options: 'redirect_dir=on', indexed: true },
  'fuse-overlayfs': { words: ['--fuse=fuse-overlayfs', '--xdev'], options: '', indexed: false },
}

/** Drives the system by mount(8), in a mount namespace with a tmpfs for the layers; ends at the first failure. */
function unionmount(installed: string, place: Place): Score {
  const way = UNIONMOUNT[place.system]
  if (way === undefined) throw new Error(`unionmount does not mount ${place.system}`)
  const { words, options, indexed } = way
  const verified = indexed && place.layout === 'merged'
  const layers = { upper: '--ov', lower: '--ov=1', merged: '--ov=3' }
  const more = verified ? [...words, '--verify'] : words
  const program = `#!/bin/sh\nexec '${process.execPath}' '${path.join(TOP, 'bin/fuse-layerfs.js')}' "$@"\n`
  const script = `
    mount -t tmpfs tmpfs /usr/local/sbin
    printf %s "$PROGRAM" >/usr/local/sbin/fuse-layerfs
    chmod 755 /usr/local/sbin/fuse-layerfs
    export PATH="/usr/local/sbin:$PATH"
    mount -t tmpfs tmpfs "$UNIONMOUNT_BASEDIR"
    exec ./run "$@"`
  const { status, output } = run(
    ['unshare', '-m', 'sh', '-ec', script, 'sh', layers[place.layout], ...more],
    {
      cwd: installed,
      minutes: 20,
      env: {
        UNIONMOUNT_BASEDIR: place.top,
        UNIONMOUNT_MNTOPTIONS: verified ? `${options},index=on` : options,
        PROGRAM: program,
      },
    },
  )
  const tests = output.match(/^TEST .*$/gm) ?? []
  const failed = new Map(
    status === 0 ? [] : [[tests.at(-1) ?? 'set-up', output.trim().split('\n').at(-1) ?? '']],
  )
  return { ran: tests.length, failed }
}

/** Random reads, writes, truncations, mappings, holes and copies of one file, each read checked. */
function fsx(installed: string, place: Place): Score {
  const score: Score = { ran: 0, failed: new Map() }
  for (const seed of SEEDS) {
    const argv = [installed, '-q', '-S', `${seed}`, '-N', `${FSX_OPERATIONS}`, '-l', '262144', '-c', '500']
    const { status, output } = run([...argv, `file${seed}`], { cwd: place.dir, minutes: 10 })
    score.ran += FSX_OPERATIONS
    if (status !== 0) score.failed.set(`seed ${seed}`, output.trim().split('\n').slice(0, 3).join('; '))
  }
  return score
}

/** Random operations by several processes; then the tree must be the same after a remount, and to overlayfs. */
function fsstress(installed: string, place: Place): Score {
  const score: Score = { ran: 0, failed: new Map() }
  const readers: readonly System[] =
    place.system.startsWith('layerfs') || place.system === 'overlay'
      ? [place.system, 'layerfs', 'overlay']
      : [place.system]
  for (const seed of SEEDS.slice(0, 3)) {
    const argv = [installed, '-d', place.dir, '-n', `${FSSTRESS_OPERATIONS}`, '-p', '3', '-s', `${seed}`]
    const { status, output } = run(argv, { minutes: 10 })
    score.ran += 3 * FSSTRESS_OPERATIONS
    if (status !== 0) score.failed.set(`seed ${seed}`, output.trim().split('\n').at(-1) ?? '')
    const left = snapshot(place.dir)
    for (const reader of readers) {
      place.remount(reader)
      const differing = differences(left, snapshot(place.dir))
      if (differing.length > 0)
        score.failed.set(`seed ${seed} seen by ${reader}`, differing.slice(0, 3).join('; '))
    }
    place.remount()
  }
  return score
}

/** One program that tests calls one by one. */
function syscalls(installed: string, place: Place): Score {
  const { status, output } = run([installed, place.dir], { minutes: 10 })
  const passed = output.match(/\] OK$/gm)?.length ?? 0
  const failed = new Map<string, string>()
  for (const [line] of output.matchAll(/^.*(?:FAIL|failed|expected).*$/gm)) failed.set(line.trim(), '')
  if (status !== 0 && failed.size === 0) failed.set('exit status', `${status}`)
  return { ran: passed + failed.size, failed }
}

/** Every stressor of the class `filesystem`, one after the other, each checking its own work. */
function stressng(installed: string, place: Place): Score {
  const argv = [installed, '--class', 'filesystem', '--sequential', '1', '--timeout', '2', '--verify']
  const { output } = run([...argv, '--temp-path', place.dir], { cwd: place.dir, minutes: 15 })
  const failed = new Map<string, string>()
  for (const [, name, what] of output.matchAll(/^stress-ng: fail: +\[\d+\] +([\w-]+): (.*)$/gm))
    failed.set(name ?? '', what ?? '')
  if (!/\] successful run completed/.test(output) && failed.size === 0)
    failed.set('exit', output.trim().split('\n').at(-1) ?? '')
  return { ran: /dispatching hogs: (.*)/.exec(output)?.[1]?.split(',').length ?? 0, failed }
}

export const SUITES: readonly Suite[] = [
  { name: 'pjdfstest', variable: 'PJDFSTEST', holds: 'pjdfstest', layouts: LAYOUTS, score: pjdfstest },
  {
    name: 'unionmount',
    variable: 'UNIONMOUNT',
    holds: 'run',
    systems: ['layerfs', 'layerfs-all', 'fuse-native', 'overlay', 'fuse-overlayfs'],
    layouts: ['upper', 'merged'],
    score: unionmount,
  },
  { name: 'fsx', variable: 'FSX', holds: '', layouts: LAYOUTS, score: fsx },
  { name: 'fsstress', variable: 'FSSTRESS', holds: '', layouts: LAYOUTS, score: fsstress },
  { name: 'syscalls', variable: 'TEST_SYSCALLS', holds: '', layouts: LAYOUTS, score: syscalls },
  { name: 'stress-ng', variable: 'STRESS_NG', holds: '', layouts: ['upper', 'merged'], score: stressng },
  ltp,
  postgres,
  fio,
  apt,
  npm,
  xfstests,
]
