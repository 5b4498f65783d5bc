/** What a tree consists of, byte for byte, and where two trees differ. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/abi/linux.js'
import { getxattr, listxattr, statx } from './sys.js'

export interface Facts {
  mode: string
  uid: number
  gid: number
  /** Bytes; undefined for a directory, whose size is the filesystem's own affair. */
  size: number | undefined
  /** Seconds and nanoseconds. */
  mtime: string
  rdev: number
  /** Target of a symlink. */
  target: string | undefined
  sha256: string | undefined
  /** `name=hex`, sorted. */
  xattrs: string[]
  /** Link count; undefined for a directory, which may say 1. */
  nlink: number | undefined
  /** The first path, in byte order, of the same inode. */
  group: string
}

export interface TreeOptions {
  /** Facts to leave out. */
  without?: readonly (keyof Facts)[]
  /** Whether an xattr counts; all do by default. */
  xattr?(name: string): boolean
}

const path = (latin1: string): Buffer => Buffer.from(latin1, 'latin1')

function sha256(file: string): string {
  const hash = createHash('sha256')
  const fd = fs.openSync(path(file), 'r')
  try {
    const chunk = Buffer.allocUnsafe(1 << 20)
    for (;;) {
      const n = fs.readSync(fd, chunk)
      if (n === 0) return hash.digest('hex')
      hash.update(chunk.subarray(0, n))
    }
  } finally {
    fs.closeSync(fd)
  }
}

/** Describes `top` and all below it. Keys are paths relative to `top` as bytes (latin1); '' is `top` itself. */
export function snapshot(top: string, options: TreeOptions = {}): Map<string, Partial<Facts>> {
  const root = Buffer.from(top).toString('latin1')
  const counts = options.xattr ?? (() => true)
  const facts = new Map<string, Partial<Facts>>()
  const groups = new Map<string, string>()

  const visit = (relative: string): void => {
    const file = relative === '' ? root : `${root}/${relative}`
    const st = statx(file)
    const type = st.mode & S_IFMT
    const inode = `${st.dev}:${st.ino}`
    if (!groups.has(inode)) groups.set(inode, relative)
    const one: Partial<Facts> = {
      mode: st.mode.toString(8),
      uid: st.uid,
      gid: st.gid,
      size: type === S_IFDIR ? undefined : st.size,
      mtime: `${st.mtime}.${String(st.mtimeNs).padStart(9, '0')}`,
      rdev: st.rdev,
      target: type === S_IFLNK ? fs.readlinkSync(path(file), 'latin1') : undefined,
      sha256: type === S_IFREG ? sha256(file) : undefined,
      xattrs: listxattr(file)
        .filter(counts)
        .sort()
        .map((name) => `${name}=${getxattr(file, name).toString('hex')}`),
      nlink: type === S_IFDIR ? undefined : st.nlink,
      group: groups.get(inode) ?? relative,
    }
    for (const name of options.without ?? []) delete one[name]
    facts.set(relative, one)
    if (type !== S_IFDIR) return
    const names = fs.readdirSync(path(file), 'buffer').map((name) => name.toString('latin1'))
    for (const name of names.sort()) visit(relative === '' ? name : `${relative}/${name}`)
  }
  visit('')
  return facts
}

/** Where two snapshots differ, a line each: `path: fact: expected, got`. Empty where they are the same tree. */
export function differences(
  expected: ReadonlyMap<string, Partial<Facts>>,
  got: ReadonlyMap<string, Partial<Facts>>,
): string[] {
  const lines: string[] = []
  for (const name of [...new Set([...expected.keys(), ...got.keys()])].sort()) {
    const a = expected.get(name)
    const b = got.get(name)
    if (a === undefined || b === undefined) {
      lines.push(`${JSON.stringify(name)}: ${a === undefined ? 'should not exist' : 'is missing'}`)
      continue
    }
    for (const fact of Object.keys({ ...a, ...b }) as (keyof Facts)[]) {
      const [x, y] = [JSON.stringify(a[fact]), JSON.stringify(b[fact])]
      if (x !== y) lines.push(`${JSON.stringify(name)}: ${fact}: expected ${x}, got ${y}`)
    }
  }
  return lines
}

/** Compares two directories: `differences` of their `snapshot`s. */
export const compareTrees = (expected: string, got: string, options: TreeOptions = {}): string[] =>
  differences(snapshot(expected, options), snapshot(got, options))
