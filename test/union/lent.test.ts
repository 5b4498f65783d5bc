import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ENOSPC, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from '../../src/abi/linux.js'
import type { LayerInput, MountInput } from '../../src/options.js'
import { xattrNames } from '../../src/sys/xattr.js'
import { runJob } from '../../src/union/job.js'
import { Attr, type Job, NO_FH, type NodeId, Opened, PARKED, type Result, SetAttr } from '../../src/vfs.js'
import { discard, mountOverlay, umount } from '../support/mounts.js'
import { type Client, errnoOf, type OpenFile } from './client.js'
import { Stack } from './stacks.js'

const LARGE = 256 * 1024
const SMALL = 128 * 1024
const LENDING = { passthrough: true, lowers: true }

let s: Stack
let c: Client
const file = (name: string, size = LARGE): void =>
  fs.writeFileSync(path.join(s.lower, name), Buffer.alloc(size, 'o'))
const start = (options: Partial<MountInput> = {}): void => {
  c = s.open(options, LENDING)
}
const temporaries = (): string[] => fs.readdirSync(path.join(s.work, 'work'))
beforeEach(() => {
  s = new Stack()
  file('large')
  file('small', SMALL)
  fs.mkdirSync(path.join(s.dir, 'other'))
})
afterEach(() => s.remove())

/** Who reads a file as the kernel does: by the descriptor that it is handed; without one by asking. */
class Reader {
  readonly file: OpenFile
  readonly lent: boolean
  private readonly backing: number

  constructor(name: string) {
    const out = new Opened()
    const node = c.node(name)
    expect(c.fs.open(c.caller, node, O_RDONLY, false, out)).toBe(0)
    this.file = { node, fh: out.fh }
    this.lent = out.backing >= 0
    this.backing = this.lent ? fs.openSync(`/proc/self/fd/${out.backing}`, 'r') : -1
  }

  read(length: number, pos = 0): string {
    const asked = c.pread(this.file, length, pos).toString('latin1')
    if (!this.lent) return asked
    const got = Buffer.alloc(length)
    const n = fs.readSync(this.backing, got, 0, length, pos)
    expect(got.toString('latin1', 0, n)).toBe(asked)
    return asked
  }

  close(): void {
    if (this.lent) fs.closeSync(this.backing)
    c.release(this.file)
  }
}

/** Has a helper thread take what copies, which is done when it is told to. */
function park(): { jobs: Job[]; work: () => Result } {
  let result: Result = PARKED
  const jobs: Job[] = []
  c.fs.employ({ awaited: () => true, start: (job) => jobs.push(job), take: () => result })
  const work = (): Result => {
    result = runJob(jobs[0] as Job)
    return result
  }
  return { jobs, work }
}

const chmodOf = (node: NodeId): Result =>
  c.fs.setattr(c.caller, node, NO_FH, Object.assign(new SetAttr(), { mode: 0o600 }), new Attr())

/** Overwrites the beginning of a file. */
const rewrite = (name: string): void => c.with(name, O_WRONLY, (f) => c.pwrite(f, 'new'))

const lends = (name: string): boolean => {
  const reader = new Reader(name)
  reader.close()
  return reader.lent
}

/** A file's metadata on disk. */
function facts(at: string): unknown {
  const { mode, uid, gid, size, mtimeMs, nlink } = fs.statSync(at)
  const names = xattrNames(-100, at)
  return { mode, uid, gid, size, mtimeMs, nlink, names: typeof names === 'number' ? names : names.sort() }
}

describe('a file of a lower that the kernel reads by itself', () => {
  it('is large, has no set-id bits, and is in no upper yet', () => {
    file('linked')
    fs.linkSync(path.join(s.lower, 'linked'), path.join(s.lower, 'other'))
    file('raised')
    file('setuid')
    fs.chmodSync(path.join(s.lower, 'setuid'), 0o4755)
    fs.mkdirSync(path.join(s.lower, 'd'))
    file('d/deep')
    start()
    expect(['large', 'linked', 'd/deep'].map(lends)).toEqual([true, true, true])
    expect(['small', 'setuid'].map(lends)).toEqual([false, false])
    c.chmod('raised', 0o600)
    // One of the upper is handed over as it is.
    const reader = new Reader('raised')
    expect(reader.lent).toBe(true)
    rewrite('raised')
    expect(reader.read(4)).toBe('newo')
    reader.close()
  })

  it('is lent by a mount too that keeps access times as they are', () => {
    start({ kernelOptions: ['noatime'] })
    const reader = new Reader('large')
    expect(reader.lent).toBe(true)
    rewrite('large')
    fs.utimesSync(path.join(s.upper, 'large'), 1, 2)
    expect(reader.read(4)).toBe('newo')
    expect(fs.statSync(path.join(s.upper, 'large')).atimeMs).toBe(1000)
    reader.close()
  })

  it('is none unless asked for', () => {
    c = s.open({}, { passthrough: true })
    expect(lends('large')).toBe(false)
  })

  it('is not one that overlayfs shows differently: of a filesystem mounted in the lower, or a metacopy', () => {
    fs.mkdirSync(path.join(s.lower, 'mounted'))
    file('mounted/f')
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path.join(s.lower, 'mounted')], { timeout: 30_000 })
    try {
      file('mounted/f')
      start()
      expect(lends('mounted/f')).toBe(false)
      s.close(c)
    } finally {
      umount(path.join(s.lower, 'mounted'))
    }
    c = s.open({ metacopy: true }, { passthrough: true })
    c.chmod('large', 0o600)
    s.close(c)
    for (const name of ['upper2', 'work2']) fs.mkdirSync(path.join(s.dir, name))
    const [upper, work] = ['upper2', 'work2'].map((name) => path.join(s.dir, name)) as [string, string]
    c = s.open({ lower: [s.upper, s.lower] as LayerInput[], upper, work, metacopy: true }, LENDING)
    expect(c.stat('large').mode & 0o777).toBe(0o600)
    expect(lends('large')).toBe(false)
  })

  const changes: Record<string, { change: () => unknown; shows: string; size: number }> = {
    'opened to write': {
      change: () => c.with('large', O_RDWR, (f) => c.pwrite(f, 'new')),
      shows: 'newo',
      size: LARGE,
    },
    'opened with O_TRUNC': {
      change: () => c.with('large', O_WRONLY | O_TRUNC, (f) => c.pwrite(f, 'new')),
      shows: 'new',
      size: 3,
    },
    emptied: { change: () => c.setattr('large', { size: 0 }), shows: '', size: 0 },
    truncated: { change: () => c.setattr('large', { size: 3 }), shows: 'ooo', size: 3 },
    'linked and written': {
      change: () => {
        c.link('large', 'second')
        rewrite('second')
      },
      shows: 'newo',
      size: LARGE,
    },
    'given another mode and written': {
      change: () => {
        c.chmod('large', 0o600)
        rewrite('large')
      },
      shows: 'newo',
      size: LARGE,
    },
    'renamed and written': {
      change: () => {
        c.rename('large', 'moved')
        rewrite('moved')
      },
      shows: 'newo',
      size: LARGE,
    },
    'replaced, and written by who has it open': {
      change: () => {
        c.rename('small', 'large')
        const out = new Opened()
        expect(c.fs.open(c.caller, reader.file.node, O_RDWR, false, out)).toBe(0)
        c.pwrite({ node: reader.file.node, fh: out.fh }, 'new')
        c.fs.release(reader.file.node, out.fh)
      },
      shows: 'newo',
      size: LARGE,
    },
    'removed, and truncated by who has it open': {
      change: () => {
        c.unlink('large')
        c.setattr('', { size: 2 }, reader.file)
      },
      shows: 'oo',
      size: 2,
    },
  }
  let reader: Reader
  describe.each([false, true])('metacopy: %s', (metacopy) => {
    for (const [what, { change, shows, size }] of Object.entries(changes)) {
      it(`shows who has it open what is written when it is ${what}`, () => {
        start({ metacopy })
        const { ino } = c.stat('large')
        reader = new Reader('large')
        expect(reader.lent).toBe(true)
        expect(reader.read(4)).toBe('oooo')
        change()
        expect(reader.read(4)).toBe(shows)
        expect(c.statNode(reader.file.node)).toMatchObject({ size, ino })
        const second = c.statNode(reader.file.node)
        reader.close()
        expect(second.size).toBe(size)
        expect(temporaries()).toEqual([])
        const lower = fs.readFileSync(path.join(s.lower, 'large'))
        expect(lower.equals(Buffer.alloc(LARGE, 'o'))).toBe(true)
      })
    }
  })

  it('is copied up as any other: owners, mode, times, xattrs', () => {
    file('plain')
    for (const name of ['large', 'plain']) {
      const at = path.join(s.lower, name)
      fs.chownSync(at, 7, 8)
      fs.chmodSync(at, 0o640)
      for (const [xattr, value] of [
        ['user.kept', 'v'],
        ['user.overlay.opaque', 'y'],
        ['user.fuseoverlayfs.opaque', 'y'],
        ['trusted.other', 'v'],
      ] as const)
        execFileSync('setfattr', ['-n', xattr, '-v', value, at], { timeout: 30_000 })
      execFileSync('setfacl', ['-m', 'u:9:rw', at], { timeout: 30_000 })
      fs.utimesSync(at, 1_000_000_001, 1_000_000_002)
    }
    start({
      uidmap: [{ shown: 0, disk: 100, count: 1000 }],
      lower: [{ path: s.lower, uidmap: [{ shown: 500, disk: 0, count: 100 }] }] as LayerInput[],
    })
    const reader = new Reader('large')
    expect(reader.lent).toBe(true)
    for (const name of ['large', 'plain']) c.rename(name, `${name}-up`)
    reader.close()
    const [lent, plain] = ['large-up', 'plain-up'].map((name) => facts(path.join(s.upper, name)))
    expect(lent).toEqual(plain)
    expect(plain).toMatchObject({ uid: 607, mtimeMs: 1_000_000_002_000, nlink: 1 })
  })

  it('stays as it was where there is no space for its copy, and is copied once there is', () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', s.dir], { timeout: 30_000 })
    const lower = path.join(path.dirname(s.dir), `${path.basename(s.dir)}-lower`)
    const small = new Stack(0, s.dir)
    try {
      fs.mkdirSync(lower)
      for (const name of ['a', 'b', 'c']) fs.writeFileSync(path.join(lower, name), Buffer.alloc(LARGE, name))
      c = small.open({ lower: [lower] as LayerInput[] }, LENDING)
      const readers = ['a', 'b', 'c'].map((name) => new Reader(name))
      for (const name of ['a', 'b']) c.chmod(name, 0o600)
      expect(errnoOf(() => c.with('c', O_WRONLY, () => {}))).toBe(ENOSPC)
      expect(readers.map((r) => r.read(2))).toEqual(['aa', 'bb', 'cc'])
      for (const name of ['a', 'b']) c.setattr(name, { size: 0 })
      c.with('c', O_WRONLY, (f) => c.pwrite(f, 'x'))
      expect(readers.map((r) => r.read(2))).toEqual(['', '', 'xc'])
      for (const r of readers) r.close()
      expect(c.stat('c').nlink).toBe(1)
    } finally {
      small.remove()
      discard(lower)
    }
  })

  it('is copied by a helper thread, others of it waiting', () => {
    start()
    const reader = new Reader('large')
    const helper = park()
    const chmod = (): Result => chmodOf(reader.file.node)
    const write = (): Result => c.fs.open(c.caller, reader.file.node, O_WRONLY, false, new Opened())
    expect([chmod(), write(), chmod()]).toEqual([PARKED, PARKED, PARKED])
    expect(helper.jobs.map(({ kind }) => kind)).toEqual(['raise'])
    expect(lends('large')).toBe(true)
    expect(helper.work()).toBe(0)
    expect([chmod(), write()]).toEqual([0, 0])
    expect(c.stat('large')).toMatchObject({ size: LARGE, nlink: 1 })
    expect(temporaries()).toEqual([])
    reader.close()
  })

  it.each([false, true])('may be closed by all while it is copied, removed: %s', (removed) => {
    start()
    const descriptors = fs.readdirSync('/proc/self/fd').length
    const reader = new Reader('large')
    const { node } = reader.file
    const helper = park()
    const out = new Opened()
    const write = (): Result => c.fs.open(c.caller, node, O_WRONLY, false, out)
    if (removed) c.unlink('large')
    expect(write()).toBe(PARKED)
    reader.close()
    expect([helper.work(), write()]).toEqual([0, 0])
    c.pwrite({ node, fh: out.fh }, 'new')
    expect(c.statNode(node)).toMatchObject({ size: LARGE, nlink: removed ? 0 : 1 })
    c.release({ node, fh: out.fh })
    if (!removed) expect(c.text('large').slice(0, 4)).toBe('newo')
    c.forgetAll()
    expect(temporaries()).toEqual([])
    expect(fs.readdirSync('/proc/self/fd').length).toBe(descriptors)
  })

  it('is let go of with its node, where nobody has opened it since', () => {
    start()
    c.stat('large')
    const descriptors = fs.readdirSync('/proc/self/fd').length
    const reader = new Reader('large')
    const helper = park()
    const chmod = (): Result => chmodOf(reader.file.node)
    expect(chmod()).toBe(PARKED)
    reader.close()
    expect(helper.work()).toBe(0)
    expect(chmod()).toBe(0)
    c.forgetAll()
    expect(fs.readdirSync('/proc/self/fd').length).toBe(descriptors)
  })

  it('is not lent while a copy of ours is under way', () => {
    file('huge', 8 << 20)
    start()
    const helper = park()
    const chmod = (): Result => chmodOf(c.node('huge'))
    expect(chmod()).toBe(PARKED)
    expect(helper.jobs.map(({ kind }) => kind)).toEqual(['copy'])
    const reader = new Reader('huge')
    expect(reader.lent).toBe(false)
    expect(helper.work()).toBe(0)
    expect(chmod()).toBe(0)
    rewrite('huge')
    expect(reader.read(4)).toBe('newo')
    reader.close()
  })

  it('shows the lower again once changes have been dropped', () => {
    start({ ephemeral: true, upper: undefined, work: undefined } as unknown as Partial<MountInput>)
    const reader = new Reader('large')
    rewrite('large')
    expect(c.fs.reset?.()).toBe(1)
    expect(reader.read(4)).toBe('newo')
    const again = new Reader('large')
    expect(again.read(4)).toBe('oooo')
    again.close()
    reader.close()
  })

  it('leaves by a crash what overlayfs mounts all the same, and the next mount clears', () => {
    fs.mkdirSync(path.join(s.lower, 'd'))
    file('d/f')
    start()
    new Reader('d/f')
    rewrite('d/f')
    new Reader('large')
    const mountpoint = path.join(s.dir, 'mnt')
    fs.mkdirSync(mountpoint)
    fs.cpSync(s.work, path.join(s.dir, 'crashed'), { recursive: true })
    mountOverlay({ lower: [s.lower], upper: s.upper, work: path.join(s.dir, 'crashed'), mountpoint }, [])
    try {
      fs.appendFileSync(path.join(mountpoint, 'd/f'), '!')
    } finally {
      umount(mountpoint)
    }
    c = s.open({ work: path.join(s.dir, 'crashed'), upper: path.join(s.dir, 'other') })
    expect(fs.readdirSync(path.join(s.dir, 'crashed'))).toEqual(['work'])
  })

  it('is lent to one node at a time: who has a removed one open sees nothing of what a reset brings back', () => {
    start({ ephemeral: true, upper: undefined, work: undefined } as unknown as Partial<MountInput>)
    const removed = new Reader('large')
    c.unlink('large')
    expect(c.fs.reset?.()).toBe(0)
    const again = new Reader('large')
    expect([removed.lent, again.lent]).toEqual([true, false])
    rewrite('large')
    expect([removed.read(4), again.read(4)]).toEqual(['oooo', 'newo'])
    again.close()
    removed.close()
  })

  it('leaves nothing behind: no node, no descriptor, nothing in the workdir', () => {
    const before = fs.readdirSync('/proc/self/fd').length
    start()
    const nodes = c.status('nodes')
    const descriptors = fs.readdirSync('/proc/self/fd').length
    const reader = new Reader('large')
    rewrite('large')
    reader.close()
    c.forgetAll()
    expect(c.status('nodes')).toBe(nodes)
    expect(fs.readdirSync('/proc/self/fd').length).toBe(descriptors)
    file('kept')
    c.open('kept', O_RDONLY)
    s.close(c)
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
    expect(temporaries()).toEqual([])
    expect(fs.readdirSync(s.work)).toEqual(['work'])
  })
})

it('is refused where overlayfs does not take the filesystem of the upper', () => {
  const at = (name: string): string => path.join(s.dir, name)
  for (const name of ['u', 'w', 'over']) fs.mkdirSync(at(name))
  mountOverlay({ lower: [s.lower], upper: at('u'), work: at('w'), mountpoint: at('over') }, [])
  try {
    const inner = new Stack(1, at('over'))
    expect(() => inner.open({}, LENDING)).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(
          /^the kernel's overlayfs does not take .*; leave out passthrough=all$/,
        ),
      }),
    )
    expect(fs.readdirSync(inner.work)).toEqual(['work'])
    inner.open({}).close()
  } finally {
    umount(at('over'))
  }
})
