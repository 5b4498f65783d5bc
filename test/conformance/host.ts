/**
 * Prepares the cases' files, mounts, has `runner` run the cases there, unmounts: `host JSON`. The runner is another
 * process, so that neither can wait for the other when one is killed.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { S_IFCHR } from '../../src/abi/linux.js'
import type * as library from '../../src/index.js'
import { mountFuseOverlayfs, mountOverlay, umount } from '../support/mounts.js'
import { mknod } from '../support/sys.js'
import { CASES } from './cases/index.js'
import type { Work } from './runner.js'
import type { Layout, Subject, System } from './subjects.js'

export interface Job {
  /** An empty directory of ours. */
  scratch: string
  layout: Layout
  system: System
  options: NonNullable<Subject['options']>
  names: string[]
  runner: string
  /** dist/index.js */
  library: string
}

const job = JSON.parse(process.argv[2] ?? '') as Job
process.umask(0o022)
const at = (name: string): string => path.join(job.scratch, name)
for (const name of ['upper', 'work', 'lower', 'lowest', 'mnt']) fs.mkdirSync(at(name))

const PLACE: Record<Layout, string> = { directory: 'mnt', upper: 'upper', lower: 'lower', merged: 'lower' }

/** Lays a case's files out. */
function prepare(name: string, own: string): void {
  const place = path.join(at(PLACE[job.layout]), own)
  fs.mkdirSync(place)
  CASES.find((it) => it.name === name)?.prepare?.(place)
  if (job.layout === 'merged') {
    fs.mkdirSync(path.join(at('lowest'), own))
    fs.writeFileSync(path.join(at('lowest'), own, 'hidden'), 'whited out in the upper')
    fs.mkdirSync(path.join(at('upper'), own))
    mknod(path.join(at('upper'), own, 'hidden'), S_IFCHR, 0)
  }
}

const work: Work = { dir: at('mnt'), cases: [] }
job.names.forEach((name, i) => {
  const own = `case-${i}`
  try {
    prepare(name, own)
    work.cases.push([name, own])
  } catch (error) {
    const message = error instanceof Error ? error.stack : String(error)
    fs.writeSync(1, `${JSON.stringify({ name, error: `while preparing: ${message}` })}\n`)
  }
})

/** Not synchronously: the mount over fuse-native is served on this very event loop. */
const run = async (): Promise<void> => {
  const runner = spawn(process.execPath, [job.runner, JSON.stringify(work)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const status = await new Promise((resolve) => {
    runner.once('close', (code, signal) => resolve(signal ?? code))
  })
  if (status !== 0) console.error(`runner ended with ${status}`)
}

/** @returns how to unmount again */
async function mounted(): Promise<() => void | Promise<void>> {
  const stack = {
    lower: job.layout === 'upper' ? [at('lowest')] : [at('lower'), at('lowest')],
    upper: at('upper'),
    work: at('work'),
    mountpoint: at('mnt'),
  }
  if (job.system === 'layerfs') {
    const { mount } = (await import(job.library)) as typeof library
    const m = await mount({ ...job.options, ...stack })
    return () => m.unmount()
  }
  if (job.system === 'overlay') mountOverlay(stack)
  else mountFuseOverlayfs(stack)
  return () => umount(at('mnt'))
}

if (job.layout === 'directory') await run()
else {
  const unmount = await mounted()
  await run()
  await unmount()
}
process.exit(0)
