/** Owners, modes and types in an xattr, as the engine shows and stores them: the files on disk all belong to the daemon. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  DT_CHR,
  DT_DIR,
  DT_FIFO,
  DT_LNK,
  DT_REG,
  ENODATA,
  EOPNOTSUPP,
  EPERM,
  O_RDWR,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
} from '../../src/abi/linux.js'
import { ACL_ACCESS, OVERRIDE_CONTAINERS, OVERRIDE_SECURITY } from '../../src/abi/overlay.js'
import { makedev } from '../../src/sys/stat.js'
import { type Client, errnoOf, ROOT_CALLER } from '../union/client.js'
import { Stack } from '../union/stacks.js'

let s: Stack
beforeEach(() => {
  s = new Stack(1)
})
afterEach(() => s.remove())

const mark = (file: string, value: string, xattr = OVERRIDE_CONTAINERS): void => {
  execFileSync('setfattr', ['-h', '-n', xattr, '-v', value, file])
}
const marked = (file: string, xattr = OVERRIDE_CONTAINERS): string =>
  execFileSync('getfattr', ['-h', '--absolute-names', '--only-values', '-n', xattr, file], {
    encoding: 'utf8',
  })

/** A lower whose root says that it keeps owners so, with one file of each type. */
function lowerFiles(): void {
  mark(s.lower, '0:0:0755:dir')
  const put = (name: string, content: string, value: string): void => {
    fs.writeFileSync(path.join(s.lower, name), content, { mode: 0o600 })
    mark(path.join(s.lower, name), value)
  }
  put('file', 'content', '5:6:04711:file')
  put('old', 'content', '7:8:644')
  put('link', 'some/where', '9:9:0777:symlink')
  put('null', '', '0:0:0666:char-1-3')
  put('pipe', '', '1:1:0600:pipe')
  fs.mkdirSync(path.join(s.lower, 'dir'), { mode: 0o700 })
  mark(path.join(s.lower, 'dir'), '3:4:01777:dir')
}

const shown = (c: Client, name: string): string => {
  const { uid, gid, mode } = c.stat(name)
  return `${uid}:${gid} ${mode.toString(8)}`
}

describe('a lower', () => {
  beforeEach(lowerFiles)

  test('shows what its xattrs say', () => {
    const c = s.open({ override: 'xattr' })
    expect(shown(c, 'file')).toBe('5:6 104711')
    expect(shown(c, 'old')).toBe('7:8 100644')
    expect(shown(c, 'link')).toBe('9:9 120777')
    expect(c.readlink('link')).toBe('some/where')
    expect(shown(c, 'null')).toBe('0:0 20666')
    expect(c.stat('null').rdev).toBe(makedev(1, 3))
    expect(shown(c, 'pipe')).toBe('1:1 10600')
    expect(shown(c, 'dir')).toBe('3:4 41777')
    const types = new Map(c.readdir('').map((entry) => [entry.name, entry.type]))
    expect(types.get('link')).toBe(DT_LNK)
    expect(types.get('null')).toBe(DT_CHR)
    expect(types.get('pipe')).toBe(DT_FIFO)
    expect(types.get('file')).toBe(DT_REG)
    expect(types.get('dir')).toBe(DT_DIR)
  })

  test('and after it was listed the same', () => {
    const c = s.open({ override: 'xattr' })
    c.readdir('')
    expect(shown(c, 'link')).toBe('9:9 120777')
    expect(shown(c, 'null')).toBe('0:0 20666')
  })

  test('without the option its files are what they are on disk: anybody may write a user xattr', () => {
    const c = s.open()
    expect(shown(c, 'file')).toBe('0:0 100600')
    expect(shown(c, 'null')).toBe('0:0 100600')
  })

  test('whose root says nothing is what it is on disk', () => {
    execFileSync('setfattr', ['-x', OVERRIDE_CONTAINERS, s.lower])
    expect(shown(s.open({ override: 'xattr' }), 'file')).toBe('0:0 100600')
  })

  test('a value that makes no sense degrades that file alone', () => {
    mark(path.join(s.lower, 'file'), 'x'.repeat(1000))
    mark(path.join(s.lower, 'null'), '0:0:0666:char-0-0')
    const c = s.open({ override: 'xattr' })
    expect(shown(c, 'file')).toBe('0:0 100600')
    expect(shown(c, 'null')).toBe('0:0 100600')
    expect(shown(c, 'link')).toBe('9:9 120777')
    expect(c.list().length).toBe(6)
  })

  test('maps shift the owners that it says', () => {
    const uidmap = [{ disk: 0, shown: 100000, count: 65536 }]
    expect(shown(s.open({ override: 'xattr', uidmap, gidmap: uidmap }), 'file')).toBe('100005:100006 104711')
  })

  test('copy-up keeps all of it', () => {
    const c = s.open({ override: 'xattr' })
    for (const name of ['file', 'link', 'null', 'pipe', 'dir']) {
      const before = c.stat(name)
      c.setattr(name, { mtime: 1000, mtimeNs: 5 })
      const { ctime, ctimeNs, blocks, btime, btimeNs, dev, ...after } = c.stat(name)
      expect(after).toMatchObject({
        mode: before.mode,
        uid: before.uid,
        gid: before.gid,
        rdev: before.rdev,
        size: before.size,
        ino: before.ino,
      })
      expect([ctime, ctimeNs, blocks, btime, btimeNs, dev].every(Number.isInteger)).toBe(true)
    }
    expect(c.readlink('link')).toBe('some/where')
    expect(c.text('file')).toBe('content')
    expect(marked(path.join(s.upper, 'null'))).toBe('0:0:0666:char-1-3')
    expect(marked(path.join(s.upper, 'dir'))).toBe('3:4:01777:dir')
  })
})

describe('an upper', () => {
  test('keeps what is made: nothing on disk is set-id, a device, or closed to the daemon', () => {
    const c = s.open({ override: 'xattr' })
    c.write('file', 'content')
    c.setattr('file', { uid: 33, gid: 34 })
    c.setattr('file', { mode: 0o6000 })
    c.mkdir('dir', 0o1777)
    c.symlink('file', 'link')
    c.setattr('link', { uid: 35 })
    c.mknod('null', S_IFCHR | 0o666, makedev(1, 3))
    c.mknod('pipe', S_IFIFO | 0o622)
    const expected = {
      file: '33:34 106000',
      dir: '0:0 41755',
      link: '35:0 120777',
      null: '0:0 20644',
      pipe: '0:0 10600',
    }
    const all = (client: Client) =>
      Object.fromEntries(Object.keys(expected).map((name) => [name, shown(client, name)]))
    expect(all(c)).toEqual(expected)
    for (const name of Object.keys(expected)) {
      const { mode, uid } = fs.lstatSync(path.join(s.upper, name))
      expect([name, uid, mode & 0o7022, mode & 0o600]).toEqual([name, 0, 0, 0o600])
      expect([0o100000, 0o040000]).toContain(mode & S_IFMT)
    }
    expect(marked(s.upper)).toMatch(/^\d+:\d+:0\d+:dir$/)
    s.close(c)
    const again = s.open({ override: 'xattr' })
    expect(all(again)).toEqual(expected)
    expect(again.readlink('link')).toBe('file')
    expect(again.text('file')).toBe('content')
  })

  test('set-group-id directories give their group', () => {
    const c = s.open({ override: 'xattr' })
    c.mkdir('dir')
    c.setattr('dir', { gid: 50 })
    c.setattr('dir', { mode: 0o2775 })
    c.write('dir/file', '')
    c.mkdir('dir/sub')
    expect(c.stat('dir/file').gid).toBe(50)
    expect(shown(c, 'dir/sub')).toBe('0:50 42755')
  })

  test('a write takes set-id bits from the xattr', () => {
    const c = s.open({ override: 'xattr' })
    c.write('file', 'content')
    c.chmod('file', 0o6755)
    const file = c.open('file', O_RDWR)
    c.pwrite(file, 'x', 0, ROOT_CALLER)
    c.release(file)
    expect(shown(c, 'file')).toBe('0:0 100755')
  })

  test('rename, link and unlink take the xattr along', () => {
    const c = s.open({ override: 'xattr' })
    c.mknod('null', S_IFCHR | 0o666, makedev(1, 3))
    c.link('null', 'zero')
    c.rename('null', 'moved')
    expect([shown(c, 'moved'), shown(c, 'zero')]).toEqual(['0:0 20644', '0:0 20644'])
    expect(c.stat('zero').nlink).toBe(2)
    c.unlink('zero')
    expect(c.stat('moved').nlink).toBe(1)
  })

  test('a file without a name', () => {
    const c = s.open({ override: 'xattr' })
    const file = c.tmpfile('', 0o640)
    expect(c.statNode(file.node, file.fh).mode.toString(8)).toBe('100640')
    c.release(file)
  })
})

describe('xattrs', () => {
  test('the engine keeps its own to itself, security ones under another name, no ACLs', () => {
    const c = s.open({ override: 'xattr' })
    c.write('file', '')
    c.setxattr('file', 'user.mine', 'a')
    c.setxattr('file', 'security.foo', 'b')
    expect(c.listxattr('file').sort()).toEqual(['security.foo', 'user.mine'])
    expect(c.getxattr('file', 'security.foo').toString()).toBe('b')
    expect(marked(path.join(s.upper, 'file'), 'user.containers.override_security.foo')).toBe('b')
    expect(errnoOf(() => c.getxattr('file', OVERRIDE_CONTAINERS))).toBe(ENODATA)
    expect(errnoOf(() => c.setxattr('file', OVERRIDE_CONTAINERS, '0:0:0644'))).toBe(EPERM)
    expect(errnoOf(() => c.setxattr('file', 'user.containers.override_security.foo', 'x'))).toBe(EPERM)
    expect(errnoOf(() => c.removexattr('file', OVERRIDE_CONTAINERS))).toBe(ENODATA)
    expect(errnoOf(() => c.setxattr('file', ACL_ACCESS, 'x'))).toBe(EOPNOTSUPP)
    c.removexattr('file', 'security.foo')
    expect(c.listxattr('file')).toEqual(['user.mine'])
  })

  test('security: in an xattr that only root may write', () => {
    const c = s.open({ override: 'security' })
    c.write('file', '')
    c.setattr('file', { uid: 33 })
    expect(marked(path.join(s.upper, 'file'), OVERRIDE_SECURITY)).toBe('33:0:0644:file')
    expect(c.listxattr('file')).toEqual([])
  })
})
