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

/** Walks all mounts in turn, twice, opens files in between, and tells what is missing: a process of its own. */
const WALKER = `
  const { readdirSync, openSync, closeSync } = require('node:fs')
  const mounts = process.argv.slice(1)
  for (let round = 0; round < 2; round++)
    for (const mountpoint of mounts)
      for (let d = 0; d < ${DIRECTORIES}; d++) {
        const names = readdirSync(mountpoint + '/d' + d).sort().join()
        if (names !== 'base,both,top') console.log(mountpoint + d + ': ' + names)
        closeSync(openSync(mountpoint + '/d' + d + '/both', 'r'))
      }
  for (let d = 0; d < 20; d++) openSync(mounts[0] + '/d' + d + '/new', 'w')
`
const PROGRAM = `
  const { mount } = await import(process.argv[1])
  const { spawnSync } = await import('node:child_process')
  const [base, walker] = process.argv.slice(2)
  const mounts = []
  for (let i = 0; i < ${MOUNTS}; i++)
    mounts.push(await mount({
      lower: [base + '/top', base + '/base'], upper: base + '/upper' + i, work: base + '/work' + i, mountpoint: base + '/mnt' + i,
    }))
  const walk = spawnSync(process.execPath, ['-e', walker, ...mounts.map((m) => m.mountpoint)], { stdio: 'inherit' })
  for (const m of mounts) await m.unmount()
  process.exit(walk.status)
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
  const words = [process.execPath, '--input-type=module', '-e', PROGRAM, LIBRARY, base, WALKER]
  const ran = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8', timeout: 60_000 })
  expect([ran.status, ran.stdout, ran.stderr]).toEqual([0, '', ''])
  for (let d = 0; d < 20; d++) expect(fs.existsSync(at('upper0', `d${d}`, 'new'))).toBe(true)
  discard(base)
})
