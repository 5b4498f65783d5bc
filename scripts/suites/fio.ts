/** fio's random writes, each block checked: on files of the upper, and on files of a lower that are copied up for it. */
import { type Score, type Suite, steps } from './score.js'
import { type Place, run } from './systems.js'

/** Ways to write. `mmap` has no direct mode. */
const WAYS = [
  ['psync', 'buffered', ['--ioengine=psync', '--fsync=64']],
  ['psync', 'direct', ['--ioengine=psync', '--direct=1']],
  ['mmap', 'buffered', ['--ioengine=mmap']],
  ['libaio', 'buffered', ['--ioengine=libaio', '--iodepth=16']],
  ['libaio', 'direct', ['--ioengine=libaio', '--iodepth=16', '--direct=1']],
  ['io_uring', 'buffered', ['--ioengine=io_uring', '--iodepth=16']],
  ['io_uring', 'direct', ['--ioengine=io_uring', '--iodepth=16', '--direct=1']],
] as const

const JOBS = 2
/** Of the one file that each job has. */
const SIZE = '--size=32m'
const COMMON = [
  SIZE,
  `--numjobs=${JOBS}`,
  '--bs=4k',
  '--verify=crc32c',
  '--verify_fatal=1',
  '--output-format=terse',
]

function score(installed: string, place: Place): Score {
  const fio = (words: readonly string[], dir: string, name: string): void => {
    const argv = [installed, ...words, ...COMMON, `--name=${name}`, `--directory=${dir}`, '--thread']
    const { status, output } = run(argv, { cwd: place.top, minutes: 10 })
    if (status !== 0) throw new Error(output.match(/^.*(?:verify|err|fio:).*$/m)?.[0] ?? `exit ${status}`)
  }
  const all = WAYS.map(([engine, mode, words]) => ({ name: `${engine}-${mode}`, words }))
  const write = ['--rw=write', '--bs=64k', '--do_verify=0', '--verify_interval=4k']
  const half = ['--rw=randwrite', '--io_size=16m', '--randrepeat=1']
  const reread = ['--rw=read']
  if (place.layout !== 'upper' && place.system !== 'directory')
    place.prepare((dir) => {
      for (const { name } of all) fio(write, dir, name)
    })
  else for (const { name } of all) fio(write, place.dir, name)
  return steps([
    ...all.map(
      ({ name, words }) =>
        [`${name}: random writes, checked`, () => fio([...half, ...words], place.dir, name)] as const,
    ),
    ...all.map(
      ({ name }) => [`${name}: all blocks, old and new`, () => fio(reread, place.dir, name)] as const,
    ),
    ['remount', () => place.remount()],
    ...all.map(
      ({ name }) => [`${name}: all blocks after a remount`, () => fio(reread, place.dir, name)] as const,
    ),
    ...all.map(
      ({ name, words }) =>
        [
          `${name}: a new file by reads and writes mixed`,
          () => fio(['--rw=randrw', ...words], place.dir, `new-${name}`),
        ] as const,
    ),
  ])
}

export const fio: Suite = {
  name: 'fio',
  variable: 'FIO',
  holds: '',
  layouts: ['upper', 'lower'],
  score,
}
