import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { EINVAL, EOVERFLOW, O_CREAT, O_EXCL, O_WRONLY, S_ISGID } from '../../src/abi/linux.js'
import type { IdRange } from '../../src/idmap.js'
import { getxattr, listxattr, setxattr } from '../support/sys.js'
import { type Client, errnoOf, ROOT_CALLER } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

const range = (disk: number, shown: number, count: number): IdRange => ({ disk, shown, count })
const maps = (...ranges: IdRange[]): { uidmap: IdRange[]; gidmap: IdRange[] } => ({
  uidmap: ranges,
  gidmap: ranges,
})

/** Ids of the lower from 0 on show from 100000 on; the upper stores those shown from 100000 on from 500000 on. */
const LOWER = maps(range(0, 100_000, 1000))
const UPPER = maps(range(500_000, 100_000, 1000))

const open = (prepare: (lower: string) => void, lower = LOWER, upper = UPPER): Client => {
  stack = new Stack(1)
  plant(stack.lower, { f: 'f', d: { g: 'g' } })
  prepare(stack.lower)
  return stack.open({ lower: [{ path: stack.lower, ...lower }], upper: { path: stack.upper, ...upper } })
}
const upper = (name: string): fs.Stats => fs.lstatSync(path.join(stack.upper, name))

/** POSIX ACL values: linux/posix_acl_xattr.h. */
function acl(entries: [tag: number, perm: number, id: number][]): Buffer {
  const value = Buffer.alloc(4 + 8 * entries.length)
  value.writeUInt32LE(2, 0)
  entries.forEach(([tag, perm, id], i) => {
    value.writeUInt16LE(tag, 4 + 8 * i)
    value.writeUInt16LE(perm, 6 + 8 * i)
    value.writeUInt32LE(id, 8 + 8 * i)
  })
  return value
}
const NONE = 0xffffffff
const named = (uid: number, gid: number): Buffer =>
  acl([
    [0x01, 6, NONE],
    [0x02, 6, uid],
    [0x04, 4, NONE],
    [0x08, 4, gid],
    [0x10, 6, NONE],
    [0x20, 4, NONE],
  ])
const capability = (rootid: number): Buffer => {
  const value = Buffer.from('010000030020000000000000000000000000000000000000', 'hex')
  value.writeUInt32LE(rootid, 20)
  return value
}

describe('ids', () => {
  it('show through the map of their layer, and stay as shown when copied up into an upper with another', () => {
    const c = open((lower) => {
      fs.chownSync(path.join(lower, 'f'), 7, 8)
      fs.chownSync(path.join(lower, 'd'), 9, 10)
    })
    expect(c.stat('f')).toMatchObject({ uid: 100_007, gid: 100_008 })
    c.append('f', '!')
    c.append('d/g', '!')
    expect(c.stat('f')).toMatchObject({ uid: 100_007, gid: 100_008 })
    expect(c.stat('d')).toMatchObject({ uid: 100_009, gid: 100_010 })
    expect(upper('f')).toMatchObject({ uid: 500_007, gid: 500_008 })
    expect(upper('d')).toMatchObject({ uid: 500_009, gid: 500_010 })
  })

  it('of callers and of chown are stored through the map of the upper', () => {
    const c = open(() => {})
    c.caller = { ...c.caller, uid: 100_001, gid: 100_002 }
    c.write('new', 'n')
    c.mkdir('made')
    c.symlink('x', 'link')
    for (const name of ['new', 'made', 'link'])
      expect(upper(name)).toMatchObject({ uid: 500_001, gid: 500_002 })
    c.setattr('f', { uid: 100_003, gid: 100_004 })
    expect(upper('f')).toMatchObject({ uid: 500_003, gid: 500_004 })
  })

  it('without a mapping are refused, and nothing is stored', () => {
    const c = open((lower) => fs.chownSync(path.join(lower, 'f'), 5000, 5000))
    expect(c.stat('f')).toMatchObject({ uid: 65534, gid: 65534 })
    for (const change of [
      () => c.append('f', 'x'),
      () => c.chmod('f', 0o600),
      () => c.link('f', 'g'),
      () => c.rename('f', 'g'),
      () => c.setattr('d/g', { uid: 65534 }),
      () => c.setattr('d/g', { gid: 99 }),
    ])
      expect([EINVAL, EOVERFLOW]).toContain(errnoOf(change))
    c.caller = { ...c.caller, uid: 12, gid: 100_000 }
    for (const change of [() => c.write('new', 'n'), () => c.mkdir('m'), () => c.symlink('x', 'l')])
      expect([EINVAL, EOVERFLOW]).toContain(errnoOf(change))
    expect(fs.readdirSync(stack.upper)).toEqual([])
    expect(fs.readdirSync(path.join(stack.work, 'work'))).toEqual([])
  })

  it('in ACLs are mapped: read, written, copied up, inherited', () => {
    const c = open((lower) => {
      setxattr(path.join(lower, 'f'), 'system.posix_acl_access', named(1, 2))
      setxattr(path.join(lower, 'd'), 'system.posix_acl_default', named(3, 4))
    })
    const shown = (name: string, which = 'access'): string =>
      c.getxattr(name, `system.posix_acl_${which}`).toString('hex')
    expect(shown('f')).toBe(named(100_001, 100_002).toString('hex'))
    c.append('f', '!')
    expect(shown('f')).toBe(named(100_001, 100_002).toString('hex'))
    expect(getxattr(path.join(stack.upper, 'f'), 'system.posix_acl_access')).toEqual(named(500_001, 500_002))
    c.setxattr('d/g', 'system.posix_acl_access', named(100_005, 100_006))
    expect(getxattr(path.join(stack.upper, 'd/g'), 'system.posix_acl_access')).toEqual(
      named(500_005, 500_006),
    )
    c.caller = { ...c.caller, uid: 100_000, gid: 100_000 }
    c.mkdir('d/sub', 0o777)
    expect(shown('d/sub', 'default')).toBe(named(100_003, 100_004).toString('hex'))
    expect(getxattr(path.join(stack.upper, 'd/sub'), 'system.posix_acl_default')).toEqual(
      named(500_003, 500_004),
    )
    expect(errnoOf(() => c.setxattr('d/g', 'system.posix_acl_access', named(5, 6)))).toBe(EINVAL)
  })

  it('of capabilities are mapped', () => {
    const c = open((lower) => setxattr(path.join(lower, 'f'), 'security.capability', capability(11)))
    expect(c.getxattr('f', 'security.capability')).toEqual(capability(100_011))
    c.chmod('f', 0o755)
    expect(c.getxattr('f', 'security.capability')).toEqual(capability(100_011))
    expect(getxattr(path.join(stack.upper, 'f'), 'security.capability')).toEqual(capability(500_011))
  })

  it('of one directory show as two owners under two maps, nothing being copied', () => {
    stack = new Stack(1)
    plant(stack.lower, { f: 'f' })
    fs.chownSync(path.join(stack.lower, 'f'), 3, 3)
    for (const shown of [10_000, 20_000]) {
      const c = stack.open({
        lower: [{ path: stack.lower, ...maps(range(0, shown, 100)) }],
        ephemeral: true,
        upper: undefined,
        work: undefined,
      } as never)
      expect(c.stat('f')).toMatchObject({ uid: shown + 3, gid: shown + 3 })
      expect(c.status('copyUps')).toBe(0)
    }
    expect(fs.statSync(path.join(stack.lower, 'f')).uid).toBe(3)
  })
})

describe('what a new file takes from its directory', () => {
  const plain = (prepare: (lower: string) => void): Client => {
    stack = new Stack(1)
    plant(stack.lower, { d: { gone: 'g' } })
    prepare(stack.lower)
    return stack.open()
  }

  it('is the group of a set-group-id one, and the bit for directories, over a whiteout too', () => {
    const c = plain((lower) => {
      fs.chownSync(path.join(lower, 'd'), 0, 777)
      fs.chmodSync(path.join(lower, 'd'), 0o2775)
    })
    c.unlink('d/gone')
    c.mkdir('d/gone')
    c.mkdir('d/sub')
    c.write('d/f', '')
    for (const name of ['d/gone', 'd/sub', 'd/f']) expect(c.stat(name).gid).toBe(777)
    expect(c.stat('d/gone').mode & S_ISGID).toBe(S_ISGID)
    expect(c.stat('d/sub').mode & S_ISGID).toBe(S_ISGID)
    expect(c.stat('d/f').mode & S_ISGID).toBe(0)
  })

  it('is the default ACL in place of the umask, also through the workdir', () => {
    const c = plain((lower) =>
      execFileSync('setfacl', ['-d', '-m', 'u::rwx,g::rx,o::r,u:42:rwx', path.join(lower, 'd')]),
    )
    c.caller = { ...c.caller, umask: 0o077 }
    c.unlink('d/gone')
    for (const name of ['d/gone', 'd/f']) c.release(c.open(name, O_WRONLY | O_CREAT | O_EXCL, 0o666))
    c.mkdir('d/s', 0o777)
    c.write('plain', '')
    expect(c.stat('plain').mode & 0o777).toBe(0o600)
    for (const name of ['d/gone', 'd/f']) {
      expect(c.stat(name).mode & 0o777).toBe(0o664)
      expect(c.listxattr(name)).toContain('system.posix_acl_access')
    }
    expect(c.listxattr('d/s')).toContain('system.posix_acl_default')
    expect(c.getxattr('d/s', 'system.posix_acl_default')).toEqual(c.getxattr('d', 'system.posix_acl_default'))
  })
})

describe('what a write takes from a file', () => {
  for (const [what, act] of Object.entries<(c: Client) => void>({
    write: (c) => c.with('f', O_WRONLY, (file) => c.pwrite(file, 'x', 0, ROOT_CALLER)),
    truncate: (c) => c.setattr('f', { size: 0, killPriv: true }),
    chown: (c) => c.setattr('f', { uid: 5, killPriv: true }),
  }))
    it(`are its set-id bits and capabilities: ${what}`, () => {
      stack = new Stack(1)
      plant(stack.lower, { f: 'content' })
      setxattr(path.join(stack.lower, 'f'), 'security.capability', capability(0))
      fs.chmodSync(path.join(stack.lower, 'f'), 0o6755)
      const c = stack.open()
      act(c)
      expect(c.stat('f').mode & 0o7777).toBe(0o755)
      expect(listxattr(path.join(stack.upper, 'f'))).not.toContain('security.capability')
    })

  it('is nothing that the kernel does not ask for', () => {
    stack = new Stack(1)
    plant(stack.lower, { f: 'content' })
    fs.chmodSync(path.join(stack.lower, 'f'), 0o6755)
    const c = stack.open()
    c.append('f', '!')
    c.setattr('f', { size: 3 })
    expect(c.stat('f').mode & 0o7777).toBe(0o6755)
  })
})
