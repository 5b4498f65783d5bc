/** Traps of ids and permissions: ACLs, set-group-id, sticky, maps, internal xattrs. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { EACCES, EINVAL, ENODATA, EOVERFLOW, EPERM, S_ISGID } from '../../../src/abi/linux.js'
import { getxattr, listxattr, removexattr, setxattr } from '../../support/sys.js'
import {
  deepEqual,
  equal,
  exists,
  fails,
  list,
  mkdir,
  ok,
  perms,
  read,
  stat,
  type Traps,
  write,
  xattr,
} from '../trap.js'

const acl = (...args: string[]): string =>
  execFileSync(args[0] as string, args.slice(1), {
    timeout: 30_000,
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString()

/** The lines of getfacl(1), ids as numbers. */
const aclOf = (file: string): string[] =>
  acl('getfacl', '-n', '-c', '-p', file)
    .split('\n')
    .map((line) => line.replace(/\s*#.*/, ''))
    .filter((line) => line !== '')

/** Acts as somebody without privileges. Takes true root. */
function as<T>(uid: number, gid: number, action: () => T): T {
  process.setgroups?.([])
  process.setegid?.(gid)
  process.seteuid?.(uid)
  try {
    return action()
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
}

function withUmask<T>(mask: number, action: () => T): T {
  const kept = process.umask(mask)
  try {
    return action()
  } finally {
    process.umask(kept)
  }
}

export const ids: Traps = {
  '15 a default ACL takes the place of the umask and is handed down': async (p) => {
    const { uid } = fs.statSync(p.lower())
    mkdir(p.lower('d'))
    acl('setfacl', '-d', '-m', `u::rwx,g::rwx,o::r-x,u:${uid}:rwx,m::rwx`, p.lower('d'))
    write(p.lower('d', 'gone'))
    await p.mount()
    fs.unlinkSync(p.mnt('d', 'gone'))
    withUmask(0o077, () => {
      fs.writeFileSync(p.mnt('d', 'f'), '', { mode: 0o666 })
      // The same, built in the workdir over a whiteout.
      fs.writeFileSync(p.mnt('d', 'gone'), '', { mode: 0o666 })
      fs.mkdirSync(p.mnt('d', 'sub'), 0o777)
      fs.writeFileSync(p.mnt('plain'), '', { mode: 0o666 })
    })
    equal(perms(p.mnt('plain')), 0o600)
    for (const name of ['f', 'gone']) {
      equal(perms(p.mnt('d', name)), 0o664)
      deepEqual(aclOf(p.mnt('d', name)), [
        'user::rw-',
        `user:${uid}:rwx`,
        'group::rwx',
        'mask::rw-',
        'other::r--',
      ])
    }
    equal(perms(p.mnt('d', 'sub')), 0o775)
    ok(aclOf(p.mnt('d', 'sub')).includes(`default:user:${uid}:rwx`))
    fs.chmodSync(p.mnt('d', 'f'), 0o640)
    ok(aclOf(p.mnt('d', 'f')).includes('mask::r--'))
    await p.remount()
    deepEqual(aclOf(p.upper('d', 'sub')), aclOf(p.mnt('d', 'sub')))
  },

  '16 in a set-group-id directory the group is the directory’s, and subdirectories inherit the bit': async (
    p,
  ) => {
    mkdir(p.lower('d'))
    for (const name of ['gone', 'dir']) mkdir(p.lower('d', name))
    if (p.root) fs.chownSync(p.lower('d'), 0, 5678)
    fs.chmodSync(p.lower('d'), 0o2775)
    const { gid } = fs.statSync(p.lower('d'))
    await p.mount()
    fs.rmdirSync(p.mnt('d', 'gone'))
    for (const name of ['gone', 'new']) fs.mkdirSync(p.mnt('d', name))
    write(p.mnt('d', 'f'))
    fs.symlinkSync('x', p.mnt('d', 'link'))
    for (const name of ['gone', 'new', 'f', 'link']) equal(fs.lstatSync(p.mnt('d', name)).gid, gid)
    for (const name of ['gone', 'new']) ok((perms(p.mnt('d', name)) & S_ISGID) !== 0, name)
    equal(perms(p.mnt('d', 'f')) & S_ISGID, 0)
    equal(perms(p.upper('d')), 0o2775)
  },

  '17 sticky directories, ACLs and capabilities go by the ids that are shown': {
    as: ['root'],
    run: async (p) => {
      const maps = {
        uidmap: [
          { disk: 0, shown: 0, count: 100 },
          { disk: 1000, shown: 12345, count: 10 },
        ],
      }
      mkdir(p.lower('tmp'))
      fs.chmodSync(p.lower('tmp'), 0o1777)
      for (const name of ['a', 'b']) {
        write(p.lower('tmp', name))
        fs.chownSync(p.lower('tmp', name), 1000, 0)
      }
      write(p.lower('acl'))
      fs.chmodSync(p.lower('acl'), 0o600)
      acl('setfacl', '-m', 'u:1001:r', p.lower('acl'))
      write(p.lower('cap'))
      const rootid = (id: number): Buffer => {
        const value = Buffer.from('010000030020000000000000000000000000000000000000', 'hex')
        value.writeUInt32LE(id, 20)
        return value
      }
      setxattr(p.lower('cap'), 'security.capability', rootid(1002))
      await p.mount({ lower: [{ path: p.lower(), ...maps }, p.lowest()], kernelOptions: ['allow_other'] })
      equal(fs.lstatSync(p.mnt('tmp', 'a')).uid, 12345)
      fails(EPERM, () => as(1000, 1000, () => fs.unlinkSync(p.mnt('tmp', 'a'))))
      as(12345, 1000, () => fs.unlinkSync(p.mnt('tmp', 'a')))
      ok(aclOf(p.mnt('acl')).includes('user:12346:r--'))
      fails(EACCES, () => as(1001, 1001, () => fs.readFileSync(p.mnt('acl'))))
      equal(
        as(12346, 1001, () => read(p.mnt('acl'))),
        'acl',
      )
      equal(getxattr(p.mnt('cap'), 'security.capability').readUInt32LE(20), 12347)
      // Copied up into an upper with other ids on disk, all show as before.
      for (const name of ['acl', 'cap', 'tmp/b']) fs.utimesSync(p.mnt(name), 1, 1)
      equal(fs.lstatSync(p.mnt('tmp', 'b')).uid, 12345)
      equal(fs.lstatSync(p.upper('tmp', 'b')).uid, 12345)
      ok(aclOf(p.mnt('acl')).includes('user:12346:r--'))
      equal(getxattr(p.upper('cap'), 'security.capability').readUInt32LE(20), 12347)
    },
  },

  '18 ids without a mapping are never stored': {
    as: ['root'],
    run: async (p) => {
      write(p.lower('f'))
      fs.chownSync(p.lower('f'), 5000, 0)
      write(p.lower('mine'))
      await p.mount({
        uidmap: [{ disk: 0, shown: 0, count: 1000 }],
        gidmap: [{ disk: 0, shown: 0, count: 1000 }],
        kernelOptions: ['allow_other'],
      })
      equal(fs.lstatSync(p.mnt('f')).uid, 65534)
      fails([EINVAL, EOVERFLOW], () => fs.chownSync(p.mnt('mine'), 2000, 0))
      fails([EINVAL, EOVERFLOW], () => fs.chownSync(p.mnt('mine'), 0, 65534))
      fails([EINVAL, EOVERFLOW], () => fs.appendFileSync(p.mnt('f'), 'x'))
      equal(exists(p.upper('f')), false)
      equal(fs.lstatSync(p.mnt('mine')).uid, 0)
      fs.chmodSync(p.mnt(), 0o777)
      fails([EINVAL, EOVERFLOW], () => as(2000, 2000, () => write(p.mnt('new'))))
      equal(exists(p.upper('new')), false)
      deepEqual(p.leftovers(), [])
    },
  },

  '23 overlay’s own xattrs are hidden, and those of a nested overlay are kept': async (p) => {
    mkdir(p.lower('d'))
    write(p.lower('d', 'f'))
    await p.mount()
    fs.appendFileSync(p.mnt('d', 'f'), 'x')
    fs.rmSync(p.mnt('d'), { recursive: true })
    fs.mkdirSync(p.mnt('d'))
    write(p.mnt('d', 'f'))
    const opaque = `${p.namespace}.overlay.opaque`
    equal(xattr(p.upper('d'), opaque), 'y')
    deepEqual(listxattr(p.mnt('d')), [])
    fails(ENODATA, () => getxattr(p.mnt('d'), opaque))
    fails(ENODATA, () => removexattr(p.mnt('d'), opaque))
    setxattr(p.mnt('d'), opaque, 'inner')
    equal(xattr(p.mnt('d'), opaque), 'inner')
    deepEqual(listxattr(p.mnt('d')), [opaque])
    equal(xattr(p.upper('d'), `${p.namespace}.overlay.overlay.opaque`), 'inner')
    await p.remount()
    equal(xattr(p.mnt('d'), opaque), 'inner')
    removexattr(p.mnt('d'), opaque)
    deepEqual(listxattr(p.mnt('d')), [])
    equal(xattr(p.upper('d'), opaque), 'y')
    equal(stat(p.mnt('d')).isDirectory(), true)
  },

  '31 an override xattr that makes no sense leaves that one file as it is on disk': async (p) => {
    const override = 'user.containers.override_stat'
    const values: Record<string, string> = {
      good: '0:0:0751:file',
      empty: '',
      word: 'garbage',
      short: '0:0',
      huge: '99999999999:0:0600',
      mode: '0:0:0999',
      whiteout: '0:0:0644:char-0-0',
      directory: '0:0:0755:dir',
      long: '0'.repeat(2000),
    }
    setxattr(p.lower(), override, '0:0:0755:dir')
    for (const [name, value] of Object.entries(values)) {
      write(p.lower(name))
      setxattr(p.lower(name), override, value)
    }
    await p.mount({ override: 'xattr' })
    deepEqual(list(p.mnt()), Object.keys(values).sort())
    for (const name of Object.keys(values)) {
      equal(perms(p.mnt(name)), name === 'good' ? 0o751 : 0o644)
      equal(stat(p.mnt(name)).isFile(), true)
      equal(read(p.mnt(name)), name)
    }
  },
}
