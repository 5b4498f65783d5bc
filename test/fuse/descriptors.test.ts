/** Several mounts of one process share what descriptors it may have. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { scratch } from '../support/identity.js'
import { LIBRARY } from '../support/library.js'
import { discard } from '../support/mounts.js'

const MOUNTS = 4
const DIRECTORIES = 300
/** Half of these would be for the directories of each mount. */
const LIMIT = 400

/** Walks all mounts in turn, twice, and opens files in between; tells what is missing. */
const PROGRAM = `
  const { mount } = await import(process.argv[1])
  const [base] = process.argv.slice(2)
  const { readdirSync, openSync, closeSync } = await import('node:fs')
  const mounts = []
  for (let i = 0; i < ${MOUNTS}; i++)
    mounts.push(await mount({
      lower: [base + '/top', base + '/base'], upper: base + '/upper' + i, work: base + '/work' + i, mountpoint: base + '/mnt' + i,
    }))
  const wrong = []
  for (let round = 0; round < 2; round++)
    for (const { mountpoint } of mounts)
      for (let d = 0; d < ${DIRECTORIES}; d++) {
        const names = readdirSync(mountpoint + '/d' + d).sort().join()
        if (names !== 'base,both,top') wrong.push(mountpoint + d + ': ' + names)
        closeSync(openSync(mountpoint + '/d' + d + '/both', 'r'))
      }
  for (let d = 0; d < 20; d++) openSync(mounts[0].mountpoint + '/d' + d + '/new', 'w')
  for (const m of mounts) await m.unmount({ lazy: true })
  console.log(wrong.join('\\n') || 'all there')
  process.exit(0)
`

it('close directories that they can open again when there are no more', () => {
  const base = scratch('descriptors')
  const at = (...names: string[]) => path.join(base, ...names)
  for (const layer of ['top', 'base'])
    for (let d = 0; d < DIRECTORIES; d++) {
      fs.mkdirSync(at(layer, `d${d}`), { recursive: true })
      for (const name of [layer, 'both']) fs.writeFileSync(at(layer, `d${d}`, name), '')
    }
  for (let i = 0; i < MOUNTS; i++)
    for (const name of ['upper', 'work', 'mnt']) fs.mkdirSync(at(`${name}${i}`))
  const script = `ulimit -n ${LIMIT}; exec "$@"`
  const words = [process.execPath, '--input-type=module', '-e', PROGRAM, LIBRARY, base]
  const ran = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8', timeout: 60_000 })
  expect([ran.status, ran.stdout, ran.stderr]).toEqual([0, 'all there\n', ''])
  for (let d = 0; d < 20; d++) expect(fs.existsSync(at('upper0', `d${d}`, 'new'))).toBe(true)
  discard(base)
})
