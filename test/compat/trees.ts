/** A lower with one of everything, and changes that leave every kind of mark in an upper. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK } from '../../src/abi/linux.js'
import { mknod, setxattr, utimens } from '../support/sys.js'

/** Capabilities of version 2: cap_net_raw, effective. */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')

/** Who makes the tree: true root may own, mark and name devices as it likes. */
export interface Maker {
  root: boolean
}

const put = (dir: string, name: string, data: string | Buffer = name): void => {
  fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true })
  fs.writeFileSync(path.join(dir, name), data)
}

/** Fills an empty directory. Times are of the past, to the nanosecond. */
export function fillLower(dir: string, { root }: Maker): void {
  for (const name of [
    'keep',
    'write',
    'truncate',
    'remove',
    'rename',
    'replace',
    'chmod',
    'times',
    'xattr',
    'link',
  ])
    put(dir, name, `content of ${name}\n`)
  for (const name of ['a', 'b', 'sub/c', 'sub/deep/d']) put(dir, `tree/${name}`)
  for (const name of ['a', 'b', 'sub/c']) put(dir, `remake/${name}`)
  for (const name of ['a', 'b', 'sub/c']) put(dir, `move/${name}`)
  for (const name of ['a', 'sub/c']) put(dir, `erase/${name}`)
  put(dir, 'emptied/a')
  put(dir, 'become-dir', 'a file')
  put(dir, 'become-file/a')
  put(dir, 'hard/one', 'linked')
  fs.linkSync(path.join(dir, 'hard/one'), path.join(dir, 'hard/two'))
  put(dir, 'hard/kept', 'linked too')
  fs.linkSync(path.join(dir, 'hard/kept'), path.join(dir, 'hard/kept-too'))
  put(dir, 'bytes-\u00e9', Buffer.alloc(100_000, 'b'))
  fs.writeFileSync(Buffer.from(`${dir}/latin1-\xff\x80`, 'latin1'), 'bytes')
  put(dir, 'long-'.padEnd(255, 'x'))
  fs.writeFileSync(path.join(dir, 'sparse'), '')
  fs.truncateSync(path.join(dir, 'sparse'), 300_000)
  fs.symlinkSync('keep', path.join(dir, 'symlink'))
  fs.symlinkSync('/nowhere/at/all', path.join(dir, 'dangling'))
  mknod(path.join(dir, 'fifo'), S_IFIFO | 0o640)
  mknod(path.join(dir, 'socket'), S_IFSOCK | 0o600)
  setxattr(path.join(dir, 'xattr'), 'user.lower', 'value')
  fs.chmodSync(path.join(dir, 'tree'), 0o2751)
  fs.chmodSync(path.join(dir, 'keep'), 0o4755)
  if (root) {
    mknod(path.join(dir, 'null'), S_IFCHR | 0o666, 0x0103)
    mknod(path.join(dir, 'disk'), S_IFBLK | 0o600, 0x0801)
    fs.chownSync(path.join(dir, 'write'), 1000, 2000)
    fs.lchownSync(path.join(dir, 'symlink'), 3000, 4000)
    fs.chownSync(path.join(dir, 'tree'), 5000, 6000)
    fs.chmodSync(path.join(dir, 'tree'), 0o2751)
    setxattr(path.join(dir, 'chmod'), 'security.capability', CAPABILITY)
    setxattr(path.join(dir, 'xattr'), 'trusted.lower', 'value')
    execFileSync('setfacl', ['-m', 'u:1234:rwx', path.join(dir, 'times')])
    execFileSync('setfacl', ['-d', '-m', 'g:4321:rx', path.join(dir, 'tree')])
  }
  let n = 0
  const age = (at: Buffer): void => {
    if (fs.lstatSync(at).isDirectory())
      for (const name of fs.readdirSync(at, 'buffer')) age(Buffer.concat([at, Buffer.from('/'), name]))
    utimens(at.toString('latin1'), 1e9 + n, n, 1e9 + n, 123_456_789 + n)
    n++
  }
  age(Buffer.from(dir))
}

export interface Changes extends Maker {
  /** Directories of the lower are renamed. */
  renames: boolean
  /** One name of a lower hard link is written to. */
  hardlinks: boolean
  /** A lower file with a name of 255 bytes is copied up. */
  longNames: boolean
  /** Fifos, sockets and devices come to lie in the upper. */
  specials: boolean
}

/** Changes a mounted tree in every way that leaves a mark. */
export function change(dir: string, { root, renames, hardlinks, longNames, specials }: Changes): void {
  const at = (...names: string[]): string => path.join(dir, ...names)
  fs.appendFileSync(at('write'), 'more')
  fs.truncateSync(at('truncate'), 4)
  fs.unlinkSync(at('remove'))
  fs.renameSync(at('rename'), at('tree', 'sub', 'renamed'))
  fs.renameSync(at('keep'), at('replace'))
  fs.chmodSync(at('chmod'), 0o600)
  fs.utimesSync(at('times'), 1, 2)
  setxattr(at('xattr'), 'user.new', Buffer.alloc(300, 'n'))
  fs.linkSync(at('link'), at('tree', 'linked'))
  fs.rmSync(at('remake'), { recursive: true })
  fs.mkdirSync(at('remake'), 0o711)
  put(at('remake'), 'b', 'new')
  fs.rmSync(at('erase'), { recursive: true })
  fs.unlinkSync(at('emptied', 'a'))
  fs.unlinkSync(at('become-dir'))
  fs.mkdirSync(at('become-dir'))
  put(at('become-dir'), 'inside')
  fs.rmSync(at('become-file'), { recursive: true })
  fs.writeFileSync(at('become-file'), 'a file now')
  fs.unlinkSync(at('tree', 'a'))
  put(at('tree'), 'sub/deep/new')
  fs.mkdirSync(at('tree', 'made'))
  put(at('made'), 'x/y/z')
  fs.renameSync(at('made'), at('made-moved'))
  fs.appendFileSync(at('bytes-\u00e9'), '!')
  fs.appendFileSync(Buffer.from(`${dir}/latin1-\xff\x80`, 'latin1'), '!')
  if (longNames) fs.chmodSync(at('long-'.padEnd(255, 'x')), 0o600)
  const sparse = fs.openSync(at('sparse'), 'r+')
  fs.writeSync(sparse, 'x', 200_000)
  fs.closeSync(sparse)
  fs.unlinkSync(at('dangling'))
  fs.symlinkSync('elsewhere', at('new-symlink'))
  if (specials) mknod(at('new-fifo'), S_IFIFO | 0o600)
  if (renames) {
    fs.renameSync(at('move'), at('tree', 'moved'))
    fs.renameSync(at('tree', 'moved', 'sub'), at('sub-moved'))
    fs.writeFileSync(at('sub-moved', 'new'), 'new')
  }
  if (hardlinks) {
    fs.readdirSync(at('hard')).map((name) => fs.lstatSync(at('hard', name)))
    fs.writeFileSync(at('hard', 'two'), 'through one name')
  }
  if (!root) return
  if (specials) {
    fs.chmodSync(at('fifo'), 0o604)
    fs.chmodSync(at('socket'), 0o604)
    fs.chownSync(at('null'), 9, 10)
    mknod(at('new-device'), S_IFCHR | 0o644, 0x0501)
  }
  fs.lchownSync(at('symlink'), 7, 8)
  fs.chownSync(at('truncate'), 70_000, 80_000)
  setxattr(at('xattr'), 'trusted.new', 'value')
  setxattr(at('remake', 'b'), 'security.capability', CAPABILITY)
  execFileSync('setfacl', ['-m', 'u:4711:r', at('write')])
}
