import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Mount } from '../../src/index.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { discard } from '../support/mounts.js'

let base: string
let m: Mount
const at = (...names: string[]) => path.join(base, ...names)
let readers: ChildProcess[] = []
beforeEach(async () => {
  base = scratch('replaced')
  for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
  fs.writeFileSync(at('lower', 'file'), 'below')
  fs.symlinkSync('file', at('lower', 'link'))
  const { mount } = await library()
  m = await mount(stackIn(base))
})
afterEach(async () => {
  for (const reader of readers) reader.kill('SIGKILL')
  readers = []
  await m.unmount({ lazy: true })
  discard(base)
})

/** A process that does the same over and over, and ends with the first error. */
async function over(what: string, file: string): Promise<ChildProcess> {
  const script = `const fs = require('fs'); process.stdout.write('on'); for (;;) ${what}`
  const reader = spawn(process.execPath, ['-e', script, at('mnt', file)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  readers.push(reader)
  await once(reader.stdout as NodeJS.ReadableStream, 'data')
  return reader
}

// rename(2): "there is no point at which another process attempting to access newpath will find it missing".
it('a name that is replaced is there all the time: to open it, to read a symlink, to go through it', async () => {
  const opening = 'fs.closeSync(fs.openSync(process.argv[1]))'
  const all = [
    await over(opening, 'file'),
    await over(opening, 'link'),
    await over('fs.readlinkSync(process.argv[1])', 'link'),
    await over('fs.chmodSync(process.argv[1], 0o644)', 'file'),
  ]
  for (let i = 0; i < 400; i++) {
    fs.writeFileSync(at('mnt', 'new'), 'above')
    fs.renameSync(at('mnt', 'new'), at('mnt', 'file'))
    fs.symlinkSync('file', at('mnt', 'newlink'))
    fs.renameSync(at('mnt', 'newlink'), at('mnt', 'link'))
  }
  for (const reader of all) {
    const closed = once(reader, 'close')
    reader.kill('SIGKILL')
    expect(await closed).toEqual([null, 'SIGKILL'])
  }
})
