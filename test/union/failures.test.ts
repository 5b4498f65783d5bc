import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  EACCES,
  ENOSPC,
  EROFS,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  RENAME_EXCHANGE,
  S_IFDIR,
  S_IFMT,
} from '../../src/abi/linux.js'
import { plainUser, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { type Client, errnoOf } from './client.js'
import { plant, Stack } from './stacks.js'

const KIB = 1024
let dir: string
let stack: Stack
let disk: string

const mount = (...args: string[]): void => {
  execFileSync('mount', args, { timeout: 30_000 })
}

/** A stack whose upper and workdir are on a filesystem of 512 KiB. */
beforeEach(() => {
  dir = scratch('failures')
  disk = path.join(dir, 'disk')
  fs.mkdirSync(disk)
  mount('-t', 'tmpfs', '-o', 'size=512k,nr_inodes=100', 'tmpfs', disk)
  stack = new Stack(1, disk)
  const lower = path.join(dir, 'lower')
  fs.mkdirSync(lower)
  stack.lowers[0] = lower
  plant(lower, { big: Buffer.alloc(800 * KIB, 'b'), small: 'small', d: { x: 'x' }, e: {} })
})
afterEach(() => {
  stack.remove()
  discard(dir)
})

/** What the tree shows, for comparison. */
function picture(c: Client): unknown {
  const facts: unknown[] = []
  c.walk((name, { ino, mode, uid, gid, size, mtime, mtimeNs, nlink }) => {
    // A directory may have been copied up: its size and link count are of another filesystem then.
    const own = (mode & S_IFMT) === S_IFDIR ? [] : [size, nlink]
    facts.push([name, ino, mode, uid, gid, mtime, mtimeNs, ...own])
  })
  return facts
}

const unchanged = (c: Client, errno: number, changes: (() => void)[]): void => {
  for (const change of changes) {
    const before = picture(c)
    expect(errnoOf(change)).toBe(errno)
    expect(picture(c)).toEqual(before)
    expect(fs.readdirSync(path.join(stack.work, 'work'))).toEqual([])
  }
}

describe('a failure', () => {
  it('to read a file that has lost its name leaves it as it was', () => {
    const c = stack.open()
    const reader = c.open('small', O_RDONLY)
    c.unlink('small')
    fs.chmodSync(path.join(stack.lower, 'small'), 0o600)
    const { uid } = plainUser()
    fs.chownSync(path.join(stack.work, 'work'), uid, -1)
    process.seteuid?.(uid)
    try {
      expect(errnoOf(() => c.setattr('', { mode: 0o640 }, reader))).toBe(EACCES)
    } finally {
      process.seteuid?.(0)
    }
    expect(c.pread(reader, 100).toString()).toBe('small')
    expect(fs.readdirSync(path.join(stack.work, 'work'))).toEqual([])
    c.setattr('', { mode: 0o640 }, reader)
    expect(c.pread(reader, 100).toString()).toBe('small')
    c.release(reader)
  })

  it('of space leaves the file as it was', () => {
    const c = stack.open()
    const file = c.open('big', 0)
    unchanged(c, ENOSPC, [
      () => c.with('big', O_RDWR, () => {}),
      () => c.chmod('big', 0o600),
      () => c.rename('big', 'd/big'),
      () => c.rename('big', 'small', RENAME_EXCHANGE),
      () => c.link('big', 'link'),
      () => c.setxattr('big', 'user.x', 'y'),
    ])
    expect(c.pread(file, 4).toString()).toBe('bbbb')
    c.release(file)
    // What needs no space goes on.
    c.append('small', '!')
    c.unlink('big')
    expect(c.list('')).toEqual(['d', 'e', 'small'])
  })

  it('of a disk without inodes leaves names and directories as they were', () => {
    const c = stack.open()
    c.append('small', '!')
    let n = 0
    while (errnoOf(() => c.mkdir(`fill${n}`)) === 0) n++
    unchanged(c, ENOSPC, [
      () => c.write('new', 'n'),
      () => c.mkdir('made'),
      () => c.append('d/x', '!'),
      () => c.chmod('e', 0o700),
      () => c.rename('d', 'moved'),
      () => c.unlink('d/x'),
      () => c.symlink('x', 'link'),
    ])
    c.rmdir('fill0')
    c.rmdir('fill1')
    c.append('d/x', '!')
    expect(c.text('d/x')).toBe('x!')
  })

  it('of a disk that has become read-only leaves all as it was, and ends with it', () => {
    const c = stack.open()
    c.append('small', '!')
    mount('-o', 'remount,ro', disk)
    unchanged(c, EROFS, [
      () => c.with('small', O_WRONLY, () => {}),
      () => c.append('d/x', '!'),
      () => c.chmod('small', 0o600),
      () => c.write('new', 'n'),
      () => c.unlink('small'),
      () => c.rmdir('e'),
      () => c.rename('small', 'big'),
      () => c.rename('d', 'e'),
      () => c.link('small', 'link'),
      () => c.setxattr('small', 'user.x', 'y'),
    ])
    mount('-o', 'remount,rw', disk)
    c.append('small', '!')
    c.rename('d', 'e')
    expect([c.text('small'), c.text('e/x')]).toEqual(['small!!', 'x'])
  })
})
