import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as F from '../../src/abi/fuse.js'
import * as L from '../../src/abi/linux.js'
import { Dirents } from '../../src/fuse/dirents.js'
import { Reply } from '../../src/fuse/reply.js'
import { Walkers } from '../../src/fuse/walkers.js'
import type { Mount } from '../../src/index.js'
import { scratch } from '../support/identity.js'
import { library, stackIn } from '../support/library.js'
import { discard } from '../support/mounts.js'
import { Bench, parse, request, str, u32, u64 } from './wire.js'

describe('a thread that lists directories', () => {
  const TID = 7
  let walkers: Walkers
  beforeEach(() => {
    walkers = new Walkers()
  })
  const list = (dir: number, tid = TID): string => {
    const wanted = walkers.wants(tid, dir, true)
    if (wanted !== 'all') walkers.withheld(tid, dir, true)
    return wanted
  }

  it('gets the attributes of directories alone once it has left files alone in four listings', () => {
    expect([1, 2, 3, 4, 5, 6].map((dir) => list(dir))).toEqual([
      ...Array(4).fill('all but one'),
      'directories',
      'directories',
    ])
  })

  it('gets all from its first look at a file on', () => {
    list(1)
    walkers.lookedUp(TID, 1)
    expect([2, 3, 4, 5, 6, 7].map((dir) => list(dir))).toEqual(Array(6).fill('all'))
  })

  it('gets all again where it looks later, or another looks at what it has listed', () => {
    for (const [looker, dir] of [
      [TID, 99],
      [1234, 3],
    ] as const) {
      walkers = new Walkers()
      for (let at = 0; at < 6; at++) list(at)
      walkers.lookedUp(1234, 99)
      expect(list(6)).toBe('directories')
      walkers.lookedUp(looker, dir)
      expect(list(7)).toBe('all')
    }
  })

  const rest = (dir: number, tid = TID): string => {
    const wanted = walkers.wants(tid, dir, false)
    if (wanted !== 'all') walkers.withheld(tid, dir, false)
    return wanted
  }

  it('gets the rest of a directory without files, until it has looked at one', () => {
    for (let dir = 1; dir <= 4; dir++)
      expect([list(dir), rest(dir), rest(dir)]).toEqual(['all but one', 'directories', 'directories'])
    expect([list(5), rest(5)]).toEqual(['directories', 'directories'])
    walkers.lookedUp(TID, 5)
    expect([rest(5), list(6), rest(6)]).toEqual(['all', 'all', 'all'])
  })

  it('is known by the directory where the kernel does not tell who it is', () => {
    expect([list(1, 0), rest(1, 0), list(2, 0)]).toEqual(['all but one', 'directories', 'all but one'])
    walkers.lookedUp(0, 2)
    expect([rest(2, 0), rest(1, 0)]).toEqual(['all', 'directories'])
    expect([1, 3, 4, 5, 6, 7].map((dir) => list(dir, 0))).toEqual(Array(6).fill('all but one'))
  })
})

describe('what READDIRPLUS answers', () => {
  let b: Bench
  beforeEach(() => {
    b = new Bench()
    b.init()
    for (const name of ['file1', 'file2']) b.ask(F.FUSE_MKNOD, 1, u32(L.S_IFREG | 0o644, 0, 0, 0), str(name))
    b.ask(F.FUSE_MKDIR, 1, u32(0o755, 0), str('dir'))
  })
  const listing = (pos = 0): Buffer[] => [u64(0, pos), u32(4096, 0), u64(0), u32(0, 0)]
  /** Names of the entries that come with a node. */
  const given = (body: Buffer): string[] => {
    const names: string[] = []
    for (let at = 0; at < body.length; ) {
      const length = body.readUInt32LE(at + 128 + 16)
      if (body.readBigUInt64LE(at) !== 0n) names.push(body.toString('latin1', at + 152, at + 152 + length))
      at += Math.ceil((152 + length) / 8) * 8
    }
    return names
  }
  const plus = (pos = 0, pid = 77): string[] =>
    given(parse(b.kernel.sent.at(b.kernel.sent.push(rawly(pos, pid)) - 1) as Buffer).body)
  const rawly = (pos: number, pid: number): Buffer => {
    b.kernel.queue.push(request(F.FUSE_READDIRPLUS, 1, listing(pos), { pid }))
    b.session.run()
    return b.kernel.sent.pop() as Buffer
  }

  it('leaves one file out, then all, and directories never', () => {
    for (let i = 0; i < 4; i++) expect(plus()).toEqual(['file2', 'dir'])
    expect(plus()).toEqual(['dir'])
    expect(plus(0, 78)).toEqual(['file2', 'dir'])
  })

  it('leaves none out once a file has been looked up, but for a directory that says nothing', () => {
    for (let i = 0; i < 5; i++) plus()
    b.ask(F.FUSE_LOOKUP, 1, str('dir'))
    expect(plus()).toEqual(['dir'])
    b.ask(F.FUSE_LOOKUP, 1, str('file1'))
    expect(plus()).toEqual(['file1', 'file2', 'dir'])
  })

  it('leaves files out past the start too, and directories never', () => {
    expect(plus()).toEqual(['file2', 'dir'])
    expect(plus(2)).toEqual(['dir'])
    b.ask(F.FUSE_LOOKUP, 1, str('file1'))
    expect(plus(2)).toEqual(['file1', 'file2', 'dir'])
  })
})

describe('an entry that the kernel holds', () => {
  const wants = (timeout: number, held: boolean): boolean => {
    const dirents = new Dirents(new Reply(4096, timeout))
    dirents.begin(4096, 'all')
    return dirents.wants(L.DT_REG, held)
  }

  it('is given with attributes again only where those that it has will not last', () => {
    expect([wants(1e9, false), wants(1e9, true), wants(1, true)]).toEqual([true, false, true])
  })
})

describe('programs that walk a mount', () => {
  let base: string
  let m: Mount
  const at = (...names: string[]) => path.join(base, ...names)
  const DIRS = 20
  const FILES = 10
  beforeEach(async () => {
    base = scratch('walkers')
    for (const name of ['upper', 'work', 'mnt']) fs.mkdirSync(at(name))
    for (let d = 0; d < DIRS; d++) {
      fs.mkdirSync(at('lower', `d${d}`), { recursive: true })
      for (let f = 0; f < FILES; f++) fs.writeFileSync(at('lower', `d${d}`, `f${f}`), `${d} ${f}`)
    }
    const { mount } = await library()
    m = await mount(stackIn(base))
  })
  afterEach(async () => {
    await m.unmount({ lazy: true }).catch(() => {})
    discard(base)
  })
  const nodes = (): number => (m.status() as unknown as { engine: { nodes: number } }).engine.nodes
  const linesOf = (dir: string, line: string): string[] => {
    const ran = spawnSync('sh', ['-c', line], { cwd: at(dir), encoding: 'utf8', timeout: 60_000 })
    expect(ran.stderr).toBe('')
    return ran.stdout.split('\n').filter((word) => word !== '')
  }

  it('find sees each name, and makes nodes of few files', () => {
    expect(linesOf('mnt', 'find .').length).toBe(1 + DIRS * (FILES + 1))
    expect(nodes()).toBeLessThan(1 + DIRS + 5 * FILES)
  })

  it('look up few names of a directory that does not fit one answer: no directories, and no files that they look at', () => {
    const many = 2000
    for (let f = 0; f < many; f++) fs.writeFileSync(at('lower', 'd0', `more${f}`), '')
    for (let d = 0; d < many; d++) fs.mkdirSync(at('lower', 'd1', `sub${d}`), { recursive: true })
    const lookups = (): number => m.stats().ops.LOOKUP?.count ?? 0
    expect(linesOf('mnt', 'find d1').length).toBe(1 + many + FILES)
    expect(lookups()).toBeLessThan(5)
    expect(linesOf('mnt', 'ls -1s d0').length).toBe(1 + many + FILES)
    expect(lookups()).toBeLessThan(30)
  })

  it('keep what they know of files in a directory that has changed and is listed anew', () => {
    linesOf('mnt', 'ls -l d3')
    const asked = () => m.stats().ops.GETXATTR?.count ?? 0
    const before = asked()
    linesOf('mnt', 'touch d3/new; ls -l d3')
    // One xattr is asked of each file in any case, another only of who is new to the kernel.
    expect(asked() - before).toBeLessThan(FILES * 2)
  })

  it('find that looks at files sees all', () => {
    expect(linesOf('mnt', 'find . -type f -size -1k').length).toBe(0)
    expect(linesOf('mnt', 'find . -type f -size 1').length).toBe(DIRS * FILES)
  })

  it('ls -lR after find shows what the lower has', () => {
    linesOf('mnt', 'find .')
    const files = (dir: string): string[] =>
      linesOf(dir, 'LC_ALL=C ls -lR --time-style=full-iso .').filter((line) => line.startsWith('-'))
    expect(files('mnt')).toEqual(files('lower'))
  })

  it('shows the same inode number with and without attributes', () => {
    const numbers = linesOf('mnt', 'ls -iR1 .').filter((line) => /^\s*\d+ f/.test(line))
    expect(numbers.length).toBe(DIRS * FILES)
    const stated = linesOf('mnt', "find . -type f -links 1 -printf '%i %f\\n'")
    expect(numbers.map((line) => line.trim()).sort()).toEqual(stated.sort())
    for (const line of linesOf('mnt', "find . -type f -printf '%i %p\\n'")) {
      const [ino = '', name = ''] = line.split(' ')
      expect(fs.lstatSync(at('mnt', name)).ino).toBe(Number(ino))
    }
  })
})
