/**
 * Suites that others wrote, over layerfs and beside it: `npm run test:suites -- [SUITE]... [flags]`. Needs root.
 *
 * Nothing is fetched or built: where a suite is installed is told by an environment variable.
 *
 *   PJDFSTEST      pjdfstest, configured and made: its top directory
 *   UNIONMOUNT     unionmount-testsuite: its top directory
 *   FSX, FSSTRESS  the programs of xfstests' ltp/
 *   TEST_SYSCALLS  the program made of libfuse's test/test_syscalls.c
 *   STRESS_NG      the program of Debian's package
 *   LTP            the Linux Test Project, installed: the directory that holds runtest/ and testcases/bin/
 *   POSTGRES       PostgreSQL's programs, as /usr/lib/postgresql/15/bin; the user postgres runs them
 *   FIO            the program of Debian's package
 *   DEBIAN_ROOT    a root filesystem, as `mmdebstrap --variant=apt --skip=check/empty bookworm DIR` makes it
 *   NPM_PROJECT    a project with a lock file, this one for example; npm finds its packages by itself
 *   XFSTESTS       xfstests, configured and made, and its users fsgqa, fsgqa2; XFSTESTS_RUN is what runs of it
 *   SUITES_DIR     where layers lie; default the temporary directory. It should be a disk: tmpfs differs from one
 *
 *   --systems A,B  directory (the control), layerfs (the default), layerfs-all (passthrough=all), fuse-native, overlay, fuse-overlayfs, unionfs
 *   --layouts A,B  where the suite's directory lies: upper, lower, merged; all by default
 *
 * Prints a table and every failure. Exits 1 where layerfs failed something that the control, run beside it, did not.
 */
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Score, Suite } from './score.js'
import { SUITES } from './suites.js'
import { LAYOUTS, type Layout, Place, SYSTEMS, type System } from './systems.js'

class Refusal extends Error {}

/** The words of a list, each one of `known`. */
function chosen<T extends string>(words: readonly string[], known: readonly T[], what: string): T[] {
  return words.map((word) => {
    const found = known.find((one) => one === word)
    if (found === undefined) throw new Refusal(`no ${what} is called ${word}: choose of ${known.join(', ')}`)
    return found
  })
}

/** Where a suite is installed. */
function installed(suite: Suite): string {
  const place = process.env[suite.variable]
  if (place === undefined || place === '')
    throw new Refusal(`set ${suite.variable} to where ${suite.name} is installed, or name the suites to run`)
  const needed = path.resolve(place, suite.holds)
  if (!fs.existsSync(needed)) throw new Refusal(`${suite.variable}=${place}: there is no ${needed}`)
  return path.resolve(place)
}

interface Row {
  suite: string
  system: System
  layout: Layout
  score: Score
}

function over(suite: Suite, at: string, system: System, layout: Layout): Row {
  const place = new Place(system, layout)
  try {
    return { suite: suite.name, system, layout, score: suite.score(at, place) }
  } finally {
    place.remove()
  }
}

/** The most of what a failed test said that is shown, characters: paths may be long. */
const LINE = 240

const show = ({ suite, system, layout, score }: Row): void => {
  const words = [suite.padEnd(11), system.padEnd(15), layout.padEnd(7)]
  process.stdout.write(
    `${words.join(' ')} ${`${score.ran}`.padStart(7)} ${`${score.failed.size}`.padStart(7)}\n`,
  )
  for (const [test, said] of score.failed)
    process.stdout.write(`    ${test} ${said}`.slice(0, LINE).concat('\n'))
}

function main(words: string[]): number {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      systems: { type: 'string', default: 'layerfs' },
      layouts: { type: 'string', default: LAYOUTS.join() },
    },
  })
  if (process.getuid?.() !== 0) throw new Refusal('run this as root: the suites change owners and mount')
  const names = positionals.length > 0 ? positionals : SUITES.map((suite) => suite.name)
  const suites = chosen(
    names,
    SUITES.map((suite) => suite.name),
    'suite',
  ).flatMap((name) => SUITES.filter((suite) => suite.name === name))
  const systems = chosen(values.systems.split(','), SYSTEMS, 'system')
  const layouts = chosen(values.layouts.split(','), LAYOUTS, 'layout')
  const places = suites.map(installed)

  process.stdout.write(`${'suite'.padEnd(11)} ${'system'.padEnd(15)} layout      ran  failed\n`)
  let worse = 0
  for (const [i, suite] of suites.entries()) {
    let control: Score | undefined
    for (const system of SYSTEMS.filter(
      (one) => systems.includes(one) && (suite.systems ?? SYSTEMS).includes(one),
    )) {
      for (const layout of suite.layouts.filter((one) => layouts.includes(one))) {
        if (system === 'directory' && control !== undefined) continue
        const row = over(suite, places[i] as string, system, layout)
        show(row)
        if (system === 'directory') control = row.score
        if (system.startsWith('layerfs'))
          for (const test of row.score.failed.keys()) if (!control?.failed.has(test)) worse++
      }
    }
  }
  return worse > 0 ? 1 : 0
}

try {
  process.exitCode = main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  process.stderr.write(`suites: ${error.message}\n`)
  process.exitCode = 2
}
