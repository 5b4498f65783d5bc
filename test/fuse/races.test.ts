import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Mount } from '../../src/index.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { discard } from '../support/mounts.js'

/** What a disk answers to calls on names that others make, move and remove. */
const OF_A_DISK = ['EEXIST', 'EINVAL', 'EISDIR', 'ELOOP', 'ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EPERM']

/** Calls on a few names of a few directories, chosen by a seed; prints what failed in which way and how often. */
const PROGRAM = `
const fs = require('node:fs')
const [top, seed, ms] = process.argv.slice(1)
let state = Number(seed)
const pick = (list) => list[(state = (state * 48271) % 0x7fffffff) % list.length]
const names = ['p', 'q'].flatMap((dir) =>
  ['a', 'b', 'c', 'd', 's', 's/a', 's/b', 't', 't/a'].map((name) => top + '/' + dir + '/' + name))
const sizes = [10, 200_000]
const use = (flags, act) => (a) => {
  const fd = fs.openSync(a, flags)
  try { act(fd) } finally { fs.closeSync(fd) }
}
const one = Buffer.alloc(1)
const { O_WRONLY, O_CREAT } = fs.constants
const calls = {
  read: use('r', (fd) => { fs.fstatSync(fd); fs.readSync(fd, one, 0, 1, 0) }),
  write: use(O_WRONLY, (fd) => fs.writeSync(fd, 'w', 0)),
  change: use('r+', (fd) => { fs.readSync(fd, one, 0, 1, 0); fs.ftruncateSync(fd, 20); fs.fsyncSync(fd); fs.fchmodSync(fd, 0o644) }),
  create: use(O_WRONLY | O_CREAT, (fd) => fs.writeSync(fd, Buffer.alloc(pick(sizes)))),
  exclusive: use('wx', () => {}),
  rewrite: use('w', (fd) => fs.writeSync(fd, 'anew')),
  stat: (a) => fs.statSync(a),
  list: (a) => fs.readdirSync(a),
  readlink: (a) => fs.readlinkSync(a),
  unlink: (a) => fs.unlinkSync(a),
  mkdir: (a) => fs.mkdirSync(a),
  rmdir: (a) => fs.rmdirSync(a),
  rename: (a, b) => fs.renameSync(a, b),
  link: (a, b) => fs.linkSync(a, b),
  symlink: (a, b) => fs.symlinkSync(b.slice(b.lastIndexOf('/') + 1), a),
  chmod: (a) => fs.chmodSync(a, 0o755),
  truncate: (a) => fs.truncateSync(a, 50),
  utimes: (a) => fs.utimesSync(a, 1, 1),
}
const seen = {}
for (const end = Date.now() + Number(ms); Date.now() < end; ) {
  const name = pick(Object.keys(calls))
  let how = 'done'
  try { calls[name](pick(names), pick(names)) } catch (error) { how = error.code }
  const key = name + ' ' + how
  seen[key] = (seen[key] ?? 0) + 1
}
process.stdout.write(JSON.stringify(seen))
`
const PROCESSES = 4
const MS = 3000

let base: string
let m: Mount
const at = (...names: string[]) => path.join(base, ...names)
beforeEach(() => {
  base = scratch('races')
  for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
  for (const dir of ['p', 'q']) {
    fs.mkdirSync(at('lower', dir, 's'), { recursive: true })
    for (const name of ['a', 'b', 'c', 's/a']) fs.writeFileSync(at('lower', dir, name), Buffer.alloc(200_000))
  }
})
afterEach(async () => {
  await m.unmount({ lazy: true })
  discard(base)
})

async function race(seed: number): Promise<Record<string, number>> {
  const racer = spawn(process.execPath, ['-e', PROGRAM, at('mnt'), String(seed), String(MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const said: Buffer[] = []
  racer.stdout.on('data', (data: Buffer) => said.push(data))
  expect(await once(racer, 'close')).toEqual([0, null])
  return JSON.parse(Buffer.concat(said).toString())
}

it('processes that race for names are told what a disk would tell them', async () => {
  const { mount } = await library()
  m = await mount(stackIn(base))
  const all = await Promise.all(Array.from({ length: PROCESSES }, (_, i) => race(1000 + i * 7919)))
  const ways = new Set(all.flatMap((seen) => Object.keys(seen)))
  const strange = [...ways].filter((way) => !['done', ...OF_A_DISK].includes(way.split(' ')[1] as string))
  expect(strange).toEqual([])
  // Each call has come through.
  expect([...ways].filter((way) => way.endsWith(' done')).length).toBe(18)
  await m.unmount()
  expect(fs.readdirSync(at('work/work'))).toEqual([])
})
