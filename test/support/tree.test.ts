import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { S_IFIFO } from '../../src/abi/linux.js'
import { scratch } from './identity.js'
import { discard } from './mounts.js'
import { mknod, setxattr, utimens } from './sys.js'
import { compareTrees, snapshot } from './tree.js'

let top: string
beforeEach(() => {
  top = scratch('tree')
  const a = path.join(top, 'a')
  fs.mkdirSync(path.join(a, 'sub'), { recursive: true })
  fs.writeFileSync(path.join(a, 'file'), 'abc')
  fs.linkSync(path.join(a, 'file'), path.join(a, 'sub/link'))
  fs.symlinkSync('file', path.join(a, 'symlink'))
  fs.writeFileSync(Buffer.concat([Buffer.from(`${a}/`), Buffer.from([0xff, 0x0a])]), '')
  mknod(path.join(a, 'fifo'), S_IFIFO | 0o600)
  setxattr(path.join(a, 'file'), 'user.x', 'value')
  execFileSync('cp', ['-a', a, path.join(top, 'b')])
})
afterEach(() => discard(top))

const compare = (): string[] => compareTrees(path.join(top, 'a'), path.join(top, 'b'))

describe('compareTrees', () => {
  it('finds a faithful copy the same', () => {
    expect(compare()).toEqual([])
    expect([...snapshot(path.join(top, 'a')).keys()]).toContain('\xff\n')
  })

  const b = (name: string): string => path.join(top, 'b', name)
  it.each<[string, RegExp, () => void]>([
    ['a missing name', /"symlink": is missing/, () => fs.unlinkSync(b('symlink'))],
    ['a name too many', /"more": should not exist/, () => fs.writeFileSync(b('more'), '')],
    ['a mode', /"sub": mode/, () => fs.chmodSync(b('sub'), 0o700)],
    ['a byte', /"file": sha256/, () => fs.writeFileSync(b('file'), 'abd')],
    ['a nanosecond', /"symlink": mtime/, () => utimens(b('symlink'), 0, 0, 5, 1)],
    ['an xattr', /"file": xattrs/, () => setxattr(b('file'), 'user.y', '')],
    ['an owner', /"fifo": uid/, () => fs.chownSync(b('fifo'), 7, -1)],
    [
      'a broken link',
      /"sub\/link": group/,
      () => {
        fs.unlinkSync(b('sub/link'))
        fs.copyFileSync(b('file'), b('sub/link'))
      },
    ],
  ])('sees %s', (_, line, change) => {
    change()
    expect(compare().join('\n')).toMatch(line)
  })
})
