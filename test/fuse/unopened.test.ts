import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import type { Mount } from '../../src/index.js'
import { copyFileRange } from '../../src/sys/file.js'
import { NO_FH } from '../../src/vfs.js'
import { scratch } from '../support/identity.js'
import { library } from '../support/library.js'
import { discard } from '../support/mounts.js'
import { ALL, Bench, initRequest, request, u32, u64 } from './wire.js'

const bench = (more: ConstructorParameters<typeof Bench>[0] = {}, flags = ALL): Bench => {
  const b = new Bench({ writeback: true, unopened: true, ...more })
  Object.assign(b.fs, { readsUnopened: true })
  b.init(initRequest(7, 45, flags))
  return b
}

describe('a session of what nobody can write to', () => {
  it('has the kernel open files by itself', () => {
    const b = bench({ passthrough: true })
    expect(b.session.features).toMatchObject({ noOpen: true, writeback: false, passthrough: false })
    expect(b.session.features.names).toContain('no_open')
    expect(b.session.features.names).not.toContain('atomic_o_trunc')
    expect(b.ask(F.FUSE_OPEN, 7, u32(L.O_RDONLY, 0)).error).toBe(-L.ENOSYS)
  })

  it.each([
    ['passthrough is wanted', { unopened: false, passthrough: true }, ALL],
    ['the layers may change', { timeout: 1 }, ALL],
    ['the kernel does not', {}, ALL - F.FUSE_NO_OPEN_SUPPORT],
  ])('is asked where %s', (_why, more, flags) => {
    const b = bench(more, flags)
    expect(b.session.features.noOpen).toBe(false)
    expect(b.session.features.names).toContain('atomic_o_trunc')
  })

  it('reads, seeks and syncs by node', () => {
    const b = bench()
    const asked: unknown[] = []
    Object.assign(b.fs, {
      read: (node: number, fh: number, dst: Buffer, pos: number) => {
        asked.push(['read', node, fh, pos])
        return dst.fill('r').length
      },
      lseek: (...args: number[]) => asked.push(['lseek', ...args]),
      fsync: (node: number, fh: number) => {
        asked.push(['fsync', node, fh])
        return 0
      },
    })
    b.raw(request(F.FUSE_READ, 7, [u64(0, 4096), u32(100, 0), u64(0), u32(0, 0)]))
    b.ask(F.FUSE_LSEEK, 7, u64(0, 5), u32(L.SEEK_HOLE, 0))
    b.ask(F.FUSE_FSYNC, 7, u64(0), u32(0, 0))
    expect(asked).toEqual([
      ['read', 7, NO_FH, 4096],
      ['lseek', 7, NO_FH, 5, L.SEEK_HOLE],
      ['fsync', 7, NO_FH],
    ])
  })
})

describe('a mount without an upper', () => {
  const MANY = 1500
  const LARGE = 3_000_001
  let base: string
  let m: Mount
  const at = (...names: string[]) => path.join(base, ...names)
  beforeEach(async () => {
    base = scratch('unopened')
    for (const name of ['lower', 'mnt']) fs.mkdirSync(at(name))
    for (let i = 0; i < MANY; i++) fs.writeFileSync(at('lower', `f${i}`), `text ${i}`)
    fs.writeFileSync(at('lower', 'large'), Buffer.alloc(LARGE, 'large file '))
    fs.writeFileSync(at('lower', 'hole'), 'before')
    fs.truncateSync(at('lower', 'hole'), 1 << 20)
    const { mount } = await library()
    m = await mount({ lower: [at('lower')], mountpoint: at('mnt'), transport: 'kernel' })
  })
  afterEach(async () => {
    await m.unmount({ lazy: true }).catch(() => {})
    discard(base)
  })
  const count = (op: string): number => m.stats().ops[op]?.count ?? 0

  it('is read with one OPEN in all, and no RELEASE', () => {
    for (let i = 0; i < MANY; i++) expect(fs.readFileSync(at('mnt', `f${i}`), 'utf8')).toBe(`text ${i}`)
    expect(fs.readFileSync(at('mnt', 'large')).equals(Buffer.alloc(LARGE, 'large file '))).toBe(true)
    expect([count('OPEN'), count('RELEASE')]).toEqual([1, 0])
  })

  it('is not asked again for pages that the kernel has', () => {
    // Held open: the kernel forgets files that nobody uses when it likes.
    const held = fs.openSync(at('mnt', 'f7'), 'r')
    expect(fs.readFileSync(at('mnt', 'f7'), 'utf8')).toBe('text 7')
    const reads = count('READ')
    for (let i = 0; i < 100; i++) expect(fs.readFileSync(at('mnt', 'f7'), 'utf8')).toBe('text 7')
    expect(count('READ') - reads).toBe(0)
    fs.closeSync(held)
  })

  it('tells where data end, and syncs', () => {
    const script = `
import os
f = os.open('hole', os.O_RDONLY)
os.fsync(f)
print(os.lseek(f, 0, os.SEEK_HOLE), os.lseek(f, 0, os.SEEK_END))
d = os.open('large', os.O_RDONLY | os.O_DIRECT)
print(len(os.pread(d, 1 << 20, 0)))`
    const ran = spawnSync('python3', ['-c', script], { cwd: at('mnt'), encoding: 'utf8' })
    expect(ran.stdout).toBe(`4096 ${1 << 20}\n${1 << 20}\n`)
  })

  it('refuses every change at once, even where a remount calls it writable', () => {
    expect(spawnSync('mount', ['-i', '-o', 'remount,rw', at('mnt')]).status).toBe(0)
    const errors = (how: () => void): string | undefined => {
      try {
        how()
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
      return undefined
    }
    const fd = fs.openSync(at('mnt', 'f1'), 'r+')
    expect(errors(() => fs.writeSync(fd, 'x'))).toBe('EROFS')
    expect(errors(() => fs.ftruncateSync(fd, 0))).toBe('EROFS')
    expect(copyFileRange(fd, 0, fd, 100, 4)).toBe(-L.EROFS)
    fs.closeSync(fd)
    expect(errors(() => fs.writeFileSync(at('mnt', 'f1'), 'x'))).toBe('EROFS')
    expect(errors(() => fs.writeFileSync(at('mnt', 'new'), 'x'))).toBe('EROFS')
    expect(errors(() => fs.appendFileSync(at('mnt', 'f1'), 'x'))).toBe('EROFS')
    expect(fs.readFileSync(at('mnt', 'f1'), 'utf8')).toBe('text 1')
    expect(fs.readFileSync(at('lower', 'f1'), 'utf8')).toBe('text 1')
  })
})
