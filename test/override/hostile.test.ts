/** Lowers whose owner means harm, or changes them under the mount: nothing leads out of a layer, hangs, or ends the daemon. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { O_RDONLY, O_RDWR } from '../../src/abi/linux.js'
import { Errno } from '../union/client.js'
import { Stack } from '../union/stacks.js'

let s: Stack
let outside: string
const SECRET = 'of the host'
beforeEach(() => {
  s = new Stack(2)
  outside = path.join(s.dir, 'outside')
  fs.mkdirSync(outside)
  fs.writeFileSync(path.join(outside, 'file'), SECRET)
})
afterEach(() => s.remove())

const below = (...names: string[]): string => path.join(s.lower, ...names)
const setfattr = (file: string, xattr: string, value: string): void => {
  execFileSync('setfattr', ['-h', '-n', xattr, '-v', value, file])
}

/** What `action` answers, or the name of the errno it fails with. Anything else that is thrown is a failure. */
function outcome<T>(action: () => T): T | string {
  try {
    return action()
  } catch (error) {
    if (error instanceof Errno) return error.message
    throw error
  }
}

const swap = (name: string, make: (file: string) => void): void => {
  fs.rmSync(below(name), { recursive: true })
  make(below(name))
}

describe('what is swapped under the mount', () => {
  beforeEach(() => {
    fs.mkdirSync(below('dir/sub'), { recursive: true })
    fs.writeFileSync(below('dir/file'), 'of the layer')
    fs.writeFileSync(below('dir/sub/file'), 'of the layer')
    fs.writeFileSync(below('file'), 'of the layer')
  })

  test('a directory for a symlink out of the layer', () => {
    for (const known of [true, false]) {
      const c = s.open()
      if (known) for (const name of ['dir/file', 'dir/sub/file']) c.stat(name)
      fs.renameSync(below('dir'), below('away'))
      fs.symlinkSync(outside, below('dir'))
      expect(outcome(() => c.text('dir/file'))).not.toBe(SECRET)
      expect(outcome(() => c.text('dir/sub/file'))).not.toBe(SECRET)
      expect(outcome(() => c.write('dir/file', 'harm'))).not.toBe(SECRET)
      expect(outcome(() => c.chmod('dir/file', 0o777))).not.toBe(SECRET)
      s.close(c)
      fs.unlinkSync(below('dir'))
      fs.renameSync(below('away'), below('dir'))
      fs.rmSync(path.join(s.upper, 'dir'), { recursive: true, force: true })
    }
    expect(fs.readFileSync(path.join(outside, 'file'), 'utf8')).toBe(SECRET)
    expect(fs.statSync(path.join(outside, 'file')).mode & 0o777).not.toBe(0o777)
  })

  test('a file for a symlink out of the layer', () => {
    const c = s.open()
    c.stat('file')
    swap('file', (file) => fs.symlinkSync(path.join(outside, 'file'), file))
    expect(outcome(() => c.text('file'))).not.toBe(SECRET)
    expect(outcome(() => c.append('file', 'harm'))).not.toBe(SECRET)
    expect(fs.readFileSync(path.join(outside, 'file'), 'utf8')).toBe(SECRET)
  })

  test('a file for a FIFO that nobody writes to', () => {
    const c = s.open()
    c.stat('file')
    swap('file', (file) => execFileSync('mkfifo', [file]))
    // Each of these would wait for ever.
    outcome(() => c.release(c.open('file', O_RDONLY)))
    outcome(() => c.release(c.open('file', O_RDWR)))
    outcome(() => c.chmod('file', 0o600))
    expect(c.list()).toContain('file')
  })

  test('a file for a directory, and a directory for a file', () => {
    const c = s.open()
    for (const name of ['file', 'dir/file']) c.stat(name)
    swap('file', (file) => fs.mkdirSync(file))
    swap('dir', (file) => fs.writeFileSync(file, ''))
    for (const name of ['file', 'dir', 'dir/file']) {
      outcome(() => c.text(name))
      outcome(() => c.list(name))
      outcome(() => c.chmod(name, 0o700))
      outcome(() => c.write(name, 'x'))
    }
    s.close(c)
    expect(s.open().list()).toContain('file')
  })

  test('files that vanish', () => {
    const c = s.open()
    for (const name of ['file', 'dir/file', 'dir/sub/file']) c.stat(name)
    c.list('dir')
    fs.rmSync(below('dir'), { recursive: true })
    fs.rmSync(below('file'))
    for (const name of ['file', 'dir/file', 'dir/sub/file']) {
      expect(outcome(() => c.text(name))).toMatch(/ENOENT|ESTALE/)
      outcome(() => c.chmod(name, 0o700))
      outcome(() => c.unlink(name))
    }
    c.write('new', 'still works')
    expect(c.text('new')).toBe('still works')
  })
})

describe('marks on what cannot have them', () => {
  const MARKS = ['opaque', 'redirect', 'metacopy', 'whiteout', 'origin', 'nlink', 'upper', 'impure']
  const VALUES = [
    'y',
    'x',
    '',
    '..',
    '../../outside',
    '/../outside',
    '/outside/file',
    '//',
    '/',
    '\u0001\u00ff',
    'a'.repeat(1000),
  ]

  test.each(MARKS)('overlay.%s of any value on every type of file', (mark) => {
    fs.mkdirSync(below('dir'))
    fs.writeFileSync(below('file'), '')
    fs.writeFileSync(below('full'), 'full')
    fs.symlinkSync('/etc/passwd', below('link'))
    execFileSync('mkfifo', [below('pipe')])
    for (const value of VALUES) {
      for (const name of ['dir', 'file', 'full', 'link', 'pipe'])
        for (const space of ['trusted', 'user'])
          if (space === 'trusted' || ['dir', 'file', 'full'].includes(name))
            setfattr(below(name), `${space}.overlay.${mark}`, value)
      const c = s.open()
      const seen = c.list()
      for (const name of ['dir', 'file', 'full', 'link', 'pipe']) {
        const content = outcome(() => c.text(name))
        expect(content).not.toBe(SECRET)
        outcome(() => c.list(name))
        outcome(() => c.readlink(name))
        outcome(() => c.chmod(name, 0o711))
        outcome(() => c.rename(name, `${name}2`))
        outcome(() => c.unlink(`${name}2`))
      }
      expect(seen).toContain('pipe')
      s.close(c)
      for (const dir of [s.upper, s.work]) {
        fs.rmSync(dir, { recursive: true })
        fs.mkdirSync(dir)
      }
    }
    expect(fs.readFileSync(path.join(outside, 'file'), 'utf8')).toBe(SECRET)
  })

  test('OCI marks that are directories, links, FIFOs and devices', () => {
    const base = s.lowers[1] as string
    fs.mkdirSync(path.join(base, 'dir'))
    fs.writeFileSync(path.join(base, 'dir/file'), 'base')
    fs.mkdirSync(below('dir'))
    fs.mkdirSync(below('dir/.wh..wh..opq'))
    fs.mkdirSync(below('.wh.a'))
    fs.symlinkSync(outside, below('.wh.b'))
    execFileSync('mkfifo', [below('.wh.c')])
    execFileSync('mknod', [below('.wh.d'), 'c', '1', '3'])
    fs.writeFileSync(below('.wh.'), '')
    fs.writeFileSync(below('.wh...'), '')
    fs.writeFileSync(below('.wh..'), '')
    fs.writeFileSync(path.join(base, 'a'), '')
    const c = s.open()
    expect(c.list().filter((name) => name.startsWith('.wh.'))).toEqual([])
    expect(outcome(() => c.list('dir'))).toBeInstanceOf(Array)
    c.write('dir/new', 'new')
    expect(c.text('dir/new')).toBe('new')
  })

  test('devices and FIFOs are shown and never opened', () => {
    execFileSync('mkfifo', [below('pipe')])
    execFileSync('mknod', [below('full'), 'c', '1', '7'])
    execFileSync('mknod', [below('disk'), 'b', '7', '99'])
    const c = s.open()
    for (const name of ['pipe', 'full', 'disk']) {
      expect(outcome(() => c.text(name))).toMatch(/ELOOP|ENXIO/)
      c.setattr(name, { uid: 5 })
      expect(c.stat(name).uid).toBe(5)
      c.setxattr(name, 'trusted.x', 'y')
      c.rename(name, `${name}2`)
      c.unlink(`${name}2`)
    }
  })
})
