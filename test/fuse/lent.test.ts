import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Mount } from '../../src/index.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { discard } from '../support/mounts.js'

/** Linux 6.9, unless it was built without. */
function kernelHasPassthrough(): boolean {
  const [major = 0, minor = 0] = os.release().split('.').map(Number)
  if (major < 6 || (major === 6 && minor < 9)) return false
  const built = fs.existsSync('/proc/config.gz') ? gunzipSync(fs.readFileSync('/proc/config.gz')) : 'y'
  return built === 'y' || built.includes('CONFIG_FUSE_PASSTHROUGH=y')
}

const SIZE = 1 << 20
const BEFORE = Buffer.alloc(SIZE, 'o')

let base: string
let m: Mount | undefined
const at = (...names: string[]) => path.join(base, ...names)
const shown = (name: string): string => fs.readFileSync(at('mnt', name)).toString('latin1', 0, 8)
beforeEach(() => {
  base = scratch('lent')
  for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
  for (const name of ['a', 'b', 'c', 'd']) fs.writeFileSync(at('lower', name), BEFORE)
})
afterEach(async () => {
  await m?.unmount({ lazy: true })
  m = undefined
  discard(base)
})

const mountAll = async (): Promise<Mount> => {
  const { mount } = await library()
  m = await mount({ ...stackIn(base), passthrough: 'all' })
  return m
}

function reading(): void {
  it('reads large files of lowers without asking', async () => {
    const { stats, status } = await mountAll()
    for (const name of ['a', 'b', 'c']) expect(fs.readFileSync(at('mnt', name)).equals(BEFORE)).toBe(true)
    expect(stats().ops.READ).toBeUndefined()
    expect(status().passthrough).toMatchObject({ enabled: true, granted: 3, refused: 0 })
  })

  it('shows all who have a file open what is written: by write, truncation, link', async () => {
    const { stats } = await mountAll()
    const readers = ['a', 'b', 'c', 'd'].map((name) => fs.openSync(at('mnt', name), 'r'))
    const seen = readers.map(() => Buffer.alloc(SIZE + 5))
    for (const [i, fd] of readers.entries())
      expect(fs.readSync(fd, seen[i] as Buffer, 0, SIZE + 5, 0)).toBe(SIZE)
    const writer = fs.openSync(at('mnt', 'a'), 'r+')
    fs.writeSync(writer, 'written!', 0)
    fs.closeSync(writer)
    fs.truncateSync(at('mnt', 'b'), 3)
    fs.writeFileSync(at('mnt', 'c'), 'anew')
    fs.linkSync(at('mnt', 'd'), at('mnt', 'e'))
    fs.appendFileSync(at('mnt', 'e'), 'tail')
    expect(['a', 'b', 'c'].map(shown)).toEqual(['written!', 'ooo', 'anew'])
    expect(fs.statSync(at('mnt', 'd'))).toMatchObject({ size: SIZE + 4, nlink: 2 })
    const got = readers.map((fd, i) => {
      const n = fs.readSync(fd, seen[i] as Buffer, 0, SIZE + 5, 0)
      fs.closeSync(fd)
      return (seen[i] as Buffer).toString('latin1', 0, n)
    })
    const text = BEFORE.toString('latin1')
    expect(got).toEqual([`written!${text.slice(8)}`, 'ooo', 'anew', `${text}tail`])
    expect(stats().ops.READ).toBeUndefined()
    await m?.unmount()
    m = undefined
    for (const name of ['a', 'b', 'c', 'd'])
      expect(fs.readFileSync(at('lower', name)).equals(BEFORE)).toBe(true)
    expect(fs.readFileSync(at('upper', 'a')).toString('latin1', 0, 9)).toBe('written!o')
  })

  it('runs a program of a lower, which nobody may write meanwhile', async () => {
    fs.copyFileSync('/bin/sleep', at('lower', 'sleep'))
    fs.truncateSync(at('lower', 'sleep'), SIZE)
    fs.chmodSync(at('lower', 'sleep'), 0o755)
    await mountAll()
    const child = spawn(at('mnt', 'sleep'), ['60'], { stdio: 'ignore' })
    await once(child, 'spawn')
    expect(() => fs.openSync(at('mnt', 'sleep'), 'r+')).toThrow(/ETXTBSY/)
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
    fs.appendFileSync(at('mnt', 'sleep'), '!')
    expect(fs.statSync(at('mnt', 'sleep')).size).toBe(SIZE + 1)
  })

  it('lets a writer in among readers who come and go', async () => {
    await mountAll()
    const script = `const fs = require('fs'); process.stdout.write('on')
      for (;;) { const fd = fs.openSync(process.argv[1], 'r'); fs.readSync(fd, Buffer.alloc(8)); fs.closeSync(fd) }`
    const readers = [0, 1].map(() =>
      spawn(process.execPath, ['-e', script, at('mnt', 'a')], { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    await Promise.all(readers.map(({ stdout }) => once(stdout, 'data')))
    for (let i = 0; i < 200; i++) {
      const text = String(i).padStart(8, '0')
      const writer = fs.openSync(at('mnt', 'a'), 'r+')
      fs.writeSync(writer, text, 0)
      fs.closeSync(writer)
      expect(shown('a')).toBe(text)
    }
    for (const reader of readers) {
      const closed = once(reader, 'close')
      reader.kill('SIGKILL')
      expect(await closed).toEqual([null, 'SIGKILL'])
    }
  })
}

if (kernelHasPassthrough()) describe('passthrough=all', reading)
else
  it('passthrough=all is refused where the kernel has none', async () => {
    await expect(mountAll()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

describe('passthrough that cannot be had', () => {
  it.each(['on', 'all'] as const)('is refused with fuse-native: %s', async (passthrough) => {
    const { mount } = await library()
    await expect(mount({ ...stackIn(base), transport: 'fuse-native', passthrough })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: `fuse-native has no passthrough: use the kernel transport, or leave out passthrough=${passthrough}`,
    })
  })
})
