import fs from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { EIO, EXDEV, RENAME_EXCHANGE } from '../../src/abi/linux.js'
import type { Layer } from '../../src/union/layer.js'
import type { Loc } from '../../src/union/loc.js'
import { readRedirect, walkRedirect } from '../../src/union/redirect.js'
import { rootLocs } from '../../src/union/resolve.js'
import { mountOverlay, umount } from '../support/mounts.js'
import { getxattr } from '../support/sys.js'
import { type Client, errnoOf } from './client.js'
import { plant, Stack } from './stacks.js'

let stack: Stack
afterEach(() => stack.remove())

/** The upper becomes the topmost lower; a fresh one takes its place. */
function commit(client: Client): Client {
  stack.close(client)
  const n = stack.lowers.length
  for (const name of ['upper', 'work']) {
    fs.renameSync(path.join(stack.dir, name), path.join(stack.dir, `${name}${n}`))
    fs.mkdirSync(path.join(stack.dir, name))
  }
  stack.lowers.unshift(path.join(stack.dir, `upper${n}`))
  return stack.open()
}

/** What the kernel's overlayfs shows of the same stack. */
function overlay(client: Client, look: (mnt: string) => void): Client {
  stack.close(client)
  const mountpoint = path.join(stack.dir, 'mnt')
  fs.mkdirSync(mountpoint, { recursive: true })
  mountOverlay({ lower: stack.lowers, upper: stack.upper, work: stack.work, mountpoint }, ['redirect_dir=on'])
  try {
    look(mountpoint)
  } finally {
    umount(mountpoint)
  }
  return stack.open()
}

const open = (tree: Parameters<typeof plant>[1]): Client => {
  stack = new Stack(1)
  plant(stack.lower, tree)
  return stack.open()
}

describe('a directory of a lower', () => {
  it('is renamed with all it shows, by a redirect to where the lowers know it', () => {
    let c = open({ d: { s: { f: 'f' }, g: 'g' }, e: {} })
    c.write('d/new', 'n')
    c.rename('d', 'e/moved')
    expect(c.list('')).toEqual(['e'])
    expect(c.list('e/moved')).toEqual(['g', 'new', 's'])
    expect(getxattr(path.join(stack.upper, 'e/moved'), 'trusted.overlay.redirect').toString()).toBe('/d')
    c.rename('e/moved/s', 's')
    expect(getxattr(path.join(stack.upper, 's'), 'trusted.overlay.redirect').toString()).toBe('/d/s')
    c = stack.reopen(c)
    expect(c.list('e/moved')).toEqual(['g', 'new'])
    expect(c.text('s/f')).toBe('f')
    overlay(c, (mnt) => expect(fs.readFileSync(`${mnt}/s/f`, 'utf8')).toBe('f'))
  })

  it('renamed twice or back keeps what it shows', () => {
    let c = open({ d: { f: 'f' } })
    c.rename('d', 'e')
    c.rename('e', 'x')
    expect(stack.reopen(c).text('x/f')).toBe('f')
    stack.remove()
    c = open({ d: { f: 'f' } })
    c.rename('d', 'e')
    c.rename('e', 'd')
    c = stack.reopen(c)
    expect([c.list(''), c.text('d/f')]).toEqual([['d'], 'f'])
  })

  it('beneath one that a lower has renamed is renamed in turn', () => {
    let c = open({ d: { sub: { f: 'hello', deep: { g: 'g' } } } })
    c.rename('d', 'e')
    c = commit(c)
    c.rename('e/sub', 'x')
    expect(c.text('x/f')).toBe('hello')
    c = stack.reopen(c)
    expect(c.text('x/f')).toBe('hello')
    c = overlay(c, (mnt) => expect(fs.readFileSync(`${mnt}/x/f`, 'utf8')).toBe('hello'))
    c = commit(c)
    c.rename('x/deep', 'deep')
    c = stack.reopen(c)
    expect([c.text('deep/g'), c.list('x')]).toEqual(['g', ['f']])
    overlay(c, (mnt) => expect(fs.readFileSync(`${mnt}/deep/g`, 'utf8')).toBe('g'))
  })

  it('exchanged with another shows what that one showed', () => {
    let c = open({ a: { f: 'of a' }, b: { g: 'of b' } })
    c.rename('a', 'b', RENAME_EXCHANGE)
    c = stack.reopen(c)
    expect([c.list('a'), c.list('b')]).toEqual([['g'], ['f']])
    overlay(c, (mnt) => expect(fs.readdirSync(`${mnt}/a`)).toEqual(['g']))
  })

  it('takes the place of an emptied one without its old entries', () => {
    let c = open({ a: { f: 'f' }, b: { old: 'o' } })
    c.unlink('b/old')
    c.rename('a', 'b')
    c = stack.reopen(c)
    expect([c.list(''), c.list('b')]).toEqual([['b'], ['f']])
    overlay(c, (mnt) => expect(fs.readdirSync(`${mnt}/b`)).toEqual(['f']))
  })

  it('is EXDEV where redirects may not be written, and nothing has changed', () => {
    const c = open({ d: { f: 'f' }, e: {} })
    stack.close(c)
    const d = stack.open({ redirect: 'off' })
    expect(errnoOf(() => d.rename('d', 'x'))).toBe(EXDEV)
    expect(errnoOf(() => d.rename('d', 'e'))).toBe(EXDEV)
    expect(d.list('')).toEqual(['d', 'e'])
    d.mkdir('new')
    d.rename('new', 'newer')
    expect(d.list('')).toEqual(['d', 'e', 'newer'])
  })

  it('renamed over a removed one keeps the number that its listing gives', () => {
    let c = open({ a: { f: 'f' }, b: {} })
    c.rmdir('b')
    c.rename('a', 'b')
    const { ino } = c.stat('b')
    c = stack.reopen(c)
    expect(c.stat('b').ino).toBe(ino)
    c.forgetAll()
    expect(c.readdir('').find((e) => e.name === 'b')?.ino).toBe(ino)
  })
})

describe('a layer that cannot be read', () => {
  const path = '/srv/broken'
  const root = { fd: () => -EIO, layer: { ociWhiteouts: false } } as unknown as Loc
  const broken = { root, path } as Layer

  it('is not taken for one that lacks what a redirect names', () => {
    expect(walkRedirect(broken, '/d/f')).toBe(-EIO)
    expect(readRedirect(root, 'd')).toBe(-EIO)
  })

  it('is not mounted as if nothing in it were marked', () => {
    expect(() => rootLocs([broken])).toThrow('cannot read the marks of /srv/broken: input/output error (EIO)')
  })
})
