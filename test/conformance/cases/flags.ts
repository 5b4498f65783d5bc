/** The flags of files: chattr(1), ioctl_iflags(2). */
import fs from 'node:fs'
import { ENOTTY, EOPNOTSUPP, EPERM, FS_APPEND_FL, FS_IMMUTABLE_FL, S_IFIFO } from '../../../src/abi/linux.js'
import { getFlags, mknod, SysError, setFlags } from '../../support/sys.js'
import { equal, fails, join, list, lstat, mkdir, ok, read, topic, write } from '../kit.js'

const FS_NODUMP_FL = 0x40
/** Left by `prepare` where the layer's filesystem keeps no flags. */
const LACKING = 'no flags here'

const has = (file: string, flag: number): boolean => (getFlags(file) & flag) !== 0
const change = (file: string, on: number, off = 0): void => setFlags(file, (getFlags(file) & ~off) | on)

/** Marks a file of the layer, or notes that it cannot be. */
function markNoDump(dir: string, name: string): void {
  try {
    change(join(dir, name), FS_NODUMP_FL)
  } catch (error) {
    if (!(error instanceof SysError) || ![ENOTTY, EOPNOTSUPP].includes(error.errno)) throw error
    write(dir, LACKING)
  }
}

const lacking = (dir: string): boolean => list(dir).includes(LACKING)

/** Whether the process has CAP_LINUX_IMMUTABLE, bit 9: root in a container may not. */
function mayMakeImmutable(): boolean {
  const held = /^CapEff:\s*([0-9a-f]+)$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return (BigInt(`0x${held}`) & (1n << 9n)) !== 0n
}

/** Runs `use` while a file has a flag; without the privilege to set it, sees that it cannot be set. */
function whileMarked(file: string, flag: number, use: () => void): void {
  if (!mayMakeImmutable()) {
    fails(EPERM, () => change(file, flag))
    equal(has(file, flag), false)
    return
  }
  change(file, flag)
  try {
    ok(has(file, flag))
    use()
  } finally {
    change(file, 0, flag)
  }
  equal(has(file, flag), false)
}

export const flags = topic('flags', {
  'of a file and a directory are shown and changed, and the data stays': {
    prepare: (d) => {
      write(d, 'f', 'data')
      mkdir(d, 'sub')
      markNoDump(d, 'f')
    },
    run: (d) => {
      const [f, sub] = [join(d, 'f'), join(d, 'sub')]
      if (lacking(d)) return
      const { mtimeNs } = lstat(d, 'f')
      equal(has(f, FS_NODUMP_FL), true)
      equal(has(sub, FS_NODUMP_FL), false)
      change(f, 0, FS_NODUMP_FL)
      change(sub, FS_NODUMP_FL)
      equal(has(f, FS_NODUMP_FL), false)
      equal(has(sub, FS_NODUMP_FL), true)
      equal(read(d, 'f'), 'data')
      equal(lstat(d, 'f').mtimeNs, mtimeNs)
      write(d, 'new')
      change(join(d, 'new'), FS_NODUMP_FL)
      equal(has(join(d, 'new'), FS_NODUMP_FL), true)
    },
  },
  // With a writeback cache, which daemons without privilege have, the kernel keeps the ctime of files by itself.
  'that change move the ctime': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f')
      markNoDump(d, 'f')
    },
    run: (d) => {
      if (lacking(d)) return
      const before = lstat(d, 'f').ctimeNs
      // Longer than a tick of the clock that ctimes are taken from.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30)
      change(join(d, 'f'), 0, FS_NODUMP_FL)
      ok(lstat(d, 'f').ctimeNs > before)
    },
  },
  'of a FIFO are none': (d) => {
    mknod(join(d, 'fifo'), S_IFIFO | 0o600)
    const keep = fs.openSync(join(d, 'fifo'), 'r+')
    fails(ENOTTY, () => getFlags(join(d, 'fifo')))
    fs.closeSync(keep)
  },
  'keep an immutable file and what an immutable directory holds as they are': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'data')
      write(mkdir(d, 'sub'), 'in', 'data')
      write(mkdir(join(d, 'sub'), 'full'), 'in')
      markNoDump(d, 'f')
    },
    run: (d) => {
      const f = join(d, 'f')
      if (lacking(d)) return
      whileMarked(f, FS_IMMUTABLE_FL, () => {
        fails(EPERM, () => fs.writeFileSync(f, 'other'))
        fails(EPERM, () => fs.truncateSync(f, 0))
        fails(EPERM, () => fs.chmodSync(f, 0o600))
        fails(EPERM, () => fs.utimesSync(f, 1, 1))
        fails(EPERM, () => fs.linkSync(f, join(d, 'linked')))
        fails(EPERM, () => fs.renameSync(f, join(d, 'moved')))
        fails(EPERM, () => fs.unlinkSync(f))
        equal(read(d, 'f'), 'data')
      })
      const sub = join(d, 'sub')
      whileMarked(sub, FS_IMMUTABLE_FL, () => {
        fails(EPERM, () => write(sub, 'new'))
        fails(EPERM, () => fs.unlinkSync(join(sub, 'in')))
        fails(EPERM, () => fs.rmdirSync(join(sub, 'full')))
        fails(EPERM, () => fs.renameSync(sub, join(d, 'moved')))
      })
      equal(list(d).join(), 'f,sub')
      equal(list(sub).join(), 'full,in')
      fs.unlinkSync(f)
      fs.renameSync(sub, f)
      equal(list(d).join(), 'f')
    },
  },
  'let an append-only file grow': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'data')
      markNoDump(d, 'f')
    },
    run: (d) => {
      const f = join(d, 'f')
      if (lacking(d)) return
      whileMarked(f, FS_APPEND_FL, () => {
        fails(EPERM, () => fs.writeFileSync(f, 'other'))
        fails(EPERM, () => fs.unlinkSync(f))
        fs.appendFileSync(f, ' more')
        fs.appendFileSync(f, ' and more')
        equal(read(d, 'f'), 'data more and more')
      })
    },
  },
})
