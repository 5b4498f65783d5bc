import fs from 'node:fs'
import {
  E2BIG,
  EACCES,
  EEXIST,
  ENODATA,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  O_RDWR,
  S_IFIFO,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../../../src/abi/linux.js'
import { ACL_ACCESS, ACL_DEFAULT, CAPABILITY } from '../../../src/abi/overlay.js'
import { getxattr, listxattr, mknod, removexattr, setxattr } from '../../support/sys.js'
import {
  asMortal,
  asUser,
  deepEqual,
  equal,
  fails,
  giveToMortal,
  join,
  lstat,
  mkdir,
  ok,
  pattern,
  perms,
  read,
  topic,
  withFd,
  withUmask,
  write,
} from '../kit.js'

/** Names of a file's xattrs that this suite made: a host may add some of its own (SELinux). */
const userNames = (file: string): string[] =>
  listxattr(file)
    .filter((name) => name.startsWith('user.'))
    .sort()

const plain = topic('xattrs', {
  'of all sizes are given back': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      const f = join(d, 'f')
      for (const size of [0, 1, 255, 1000, 3000]) {
        setxattr(f, 'user.x', pattern(size, size))
        ok(getxattr(f, 'user.x').equals(pattern(size, size)))
        equal(getxattr(f, 'user.x', 0).length, size)
      }
      equal(read(d, 'f'), 'f')
    },
  },
  'prepared are shown, and survive a write': {
    prepare: (d) => {
      write(d, 'f')
      setxattr(join(d, 'f'), 'user.one', 'ONE')
      setxattr(mkdir(d, 'sub'), 'user.two', 'TWO')
    },
    run: (d) => {
      equal(getxattr(join(d, 'f'), 'user.one').toString(), 'ONE')
      fs.appendFileSync(join(d, 'f'), 'x')
      write(d, 'sub/new')
      equal(getxattr(join(d, 'f'), 'user.one').toString(), 'ONE')
      equal(getxattr(join(d, 'sub'), 'user.two').toString(), 'TWO')
      deepEqual(userNames(join(d, 'f')), ['user.one'])
      deepEqual(userNames(join(d, 'sub')), ['user.two'])
    },
  },
  'may have slashes in their names': {
    prepare: (d) => {
      write(d, 'f')
      setxattr(join(d, 'f'), 'user.a/b', 'before')
    },
    run: (d) => {
      const f = join(d, 'f')
      equal(getxattr(f, 'user.a/b').toString(), 'before')
      setxattr(f, 'user.c/../d', 'new')
      removexattr(f, 'user.a/b')
      equal(getxattr(f, 'user.c/../d').toString(), 'new')
      deepEqual(userNames(f), ['user.c/../d'])
    },
  },
  'are listed, replaced and removed': {
    prepare: (d) => {
      write(d, 'f')
      setxattr(join(d, 'f'), 'user.a', '1')
      setxattr(join(d, 'f'), 'user.b', '2')
    },
    run: (d) => {
      const f = join(d, 'f')
      setxattr(f, 'user.c', '3')
      removexattr(f, 'user.a')
      deepEqual(userNames(f), ['user.b', 'user.c'])
      fails(ENODATA, () => getxattr(f, 'user.a'))
      fails(ENODATA, () => removexattr(f, 'user.a'))
      setxattr(f, 'user.b', 'longer than before')
      equal(getxattr(f, 'user.b').toString(), 'longer than before')
    },
  },
  'CREATE and REPLACE are told apart': {
    prepare: (d) => {
      write(d, 'f')
      setxattr(join(d, 'f'), 'user.old', '1')
    },
    run: (d) => {
      const f = join(d, 'f')
      fails(EEXIST, () => setxattr(f, 'user.old', '2', XATTR_CREATE))
      fails(ENODATA, () => setxattr(f, 'user.new', '2', XATTR_REPLACE))
      setxattr(f, 'user.old', '2', XATTR_REPLACE)
      setxattr(f, 'user.new', '3', XATTR_CREATE)
      deepEqual(
        ['user.old', 'user.new'].map((x) => getxattr(f, x).toString()),
        ['2', '3'],
      )
    },
  },
  'that do not fit are ERANGE or E2BIG': {
    prepare: (d) => {
      write(d, 'f')
      setxattr(join(d, 'f'), 'user.x', 'twelve bytes')
    },
    run: (d) => {
      const f = join(d, 'f')
      fails(ERANGE, () => getxattr(f, 'user.x', 11))
      equal(getxattr(f, 'user.x', 12).length, 12)
      fails(ERANGE, () => listxattr(f, 3))
      fails(E2BIG, () => setxattr(f, 'user.x', Buffer.alloc(65537)))
      fails(ERANGE, () => setxattr(f, `user.${'n'.repeat(251)}`, 'x'))
      setxattr(f, `user.${'n'.repeat(250)}`, 'x')
      equal(getxattr(f, `user.${'n'.repeat(250)}`).toString(), 'x')
    },
  },
  'of a descriptor are those of the file': {
    prepare: (d) => write(d, 'f'),
    run: (d) =>
      withFd(join(d, 'f'), O_RDWR, (fd) => {
        setxattr(fd, 'user.x', '1')
        equal(getxattr(join(d, 'f'), 'user.x').toString(), '1')
        fs.unlinkSync(join(d, 'f'))
        equal(getxattr(fd, 'user.x').toString(), '1')
        setxattr(fd, 'user.x', '2')
        equal(getxattr(fd, 'user.x').toString(), '2')
      }),
  },
  'of directories work as of files': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => {
      setxattr(join(d, 'sub'), 'user.x', '1')
      deepEqual(userNames(join(d, 'sub')), ['user.x'])
      removexattr(join(d, 'sub'), 'user.x')
      deepEqual(userNames(join(d, 'sub')), [])
    },
  },
  'named user. are refused on symlinks and fifos': {
    prepare: (d) => {
      fs.symlinkSync('x', join(d, 'l'))
      mknod(join(d, 'p'), S_IFIFO | 0o600)
    },
    run: (d) => {
      fails(EPERM, () => setxattr(join(d, 'l'), 'user.x', '1'))
      fails(EPERM, () => setxattr(join(d, 'p'), 'user.x', '1'))
    },
  },
  'of an unknown namespace are EOPNOTSUPP': {
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      fails(EOPNOTSUPP, () => setxattr(join(d, 'f'), 'nonsense.x', '1'))
      fails(EOPNOTSUPP, () => getxattr(join(d, 'f'), 'nonsense.x'))
    },
  },
  'named trusted. are root alone': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'f', 0o666)
      setxattr(join(d, 'f'), 'trusted.before', '0')
    },
    run: (d) => {
      const f = join(d, 'f')
      setxattr(f, 'trusted.x', '1')
      equal(getxattr(f, 'trusted.x').toString(), '1')
      equal(getxattr(f, 'trusted.before').toString(), '0')
      asUser(1234, 1234, () => {
        fails(ENODATA, () => getxattr(f, 'trusted.x'))
        fails(EPERM, () => setxattr(f, 'trusted.x', '2'))
      })
    },
  },
  'named security. are kept for root': {
    needs: 'root',
    prepare: (d) => write(d, 'f'),
    run: (d) => {
      setxattr(join(d, 'f'), 'security.conformance', 'label')
      equal(getxattr(join(d, 'f'), 'security.conformance').toString(), 'label')
      asUser(1234, 1234, () => fails(EPERM, () => setxattr(join(d, 'f'), 'security.conformance', '2')))
    },
  },
  'named user. obey the mode': {
    needs: 'root',
    prepare: (d) => write(d, 'f', 'f', 0o644),
    run: (d) =>
      asUser(1234, 1234, () => {
        fails(EACCES, () => setxattr(join(d, 'f'), 'user.x', '1'))
        fails(ENODATA, () => getxattr(join(d, 'f'), 'user.x'))
      }),
  },
})

/** Capability set CAP_NET_RAW, permitted and effective, revision 2: capabilities(7). */
const NET_RAW = Buffer.from('0100000200200000000000000000000000000000', 'hex')

const capability = topic('file capabilities', {
  'are kept through chmod and go when the file is written': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'abc', 0o755)
      setxattr(join(d, 'f'), CAPABILITY, NET_RAW)
    },
    run: (d) => {
      const f = join(d, 'f')
      ok(getxattr(f, CAPABILITY).equals(NET_RAW))
      fs.chmodSync(f, 0o700)
      ok(getxattr(f, CAPABILITY).equals(NET_RAW))
      fs.appendFileSync(f, 'd')
      fails(ENODATA, () => getxattr(f, CAPABILITY))
    },
  },
  'go when the owner changes': {
    needs: 'root',
    prepare: (d) => write(d, 'f', 'abc', 0o755),
    run: (d) => {
      setxattr(join(d, 'f'), CAPABILITY, NET_RAW)
      fs.chownSync(join(d, 'f'), 1234, 1234)
      fails(ENODATA, () => getxattr(join(d, 'f'), CAPABILITY))
    },
  },
  'go when the file is truncated': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'abc', 0o755)
      setxattr(join(d, 'f'), CAPABILITY, NET_RAW)
    },
    run: (d) => {
      fs.truncateSync(join(d, 'f'), 1)
      fails(ENODATA, () => getxattr(join(d, 'f'), CAPABILITY))
    },
  },
})

const USER_OBJ = 1
const USER = 2
const GROUP_OBJ = 4
const MASK = 0x10
const OTHER = 0x20
const NO_ID = 0xffffffff

/** A POSIX ACL as its xattr holds it: version 2, then tag, permissions and id of each entry. */
function acl(...entries: [tag: number, perm: number, id?: number][]): Buffer {
  const b = Buffer.alloc(4 + 8 * entries.length)
  b.writeUInt32LE(2)
  entries.forEach(([tag, perm, id = NO_ID], i) => {
    b.writeUInt16LE(tag, 4 + 8 * i)
    b.writeUInt16LE(perm, 6 + 8 * i)
    b.writeUInt32LE(id, 8 + 8 * i)
  })
  return b
}

const me = (): number => process.getuid?.() ?? 0

const acls = topic('ACLs', {
  'are given back and show in the mode': {
    prepare: (d) => write(d, 'f', 'x', 0o640),
    run: (d) => {
      const value = acl([USER_OBJ, 6], [USER, 7, me()], [GROUP_OBJ, 4], [MASK, 7], [OTHER, 0])
      setxattr(join(d, 'f'), ACL_ACCESS, value)
      ok(getxattr(join(d, 'f'), ACL_ACCESS).equals(value))
      equal(perms(d, 'f'), 0o670)
    },
  },
  'prepared survive a write': {
    prepare: (d) => {
      write(d, 'f', 'x', 0o640)
      setxattr(
        join(d, 'f'),
        ACL_ACCESS,
        acl([USER_OBJ, 6], [USER, 5, me()], [GROUP_OBJ, 4], [MASK, 5], [OTHER, 0]),
      )
    },
    run: (d) => {
      fs.appendFileSync(join(d, 'f'), 'y')
      const value = acl([USER_OBJ, 6], [USER, 5, me()], [GROUP_OBJ, 4], [MASK, 5], [OTHER, 0])
      ok(getxattr(join(d, 'f'), ACL_ACCESS).equals(value))
      equal(perms(d, 'f'), 0o650)
    },
  },
  'that a mode can say become the mode': {
    prepare: (d) => write(d, 'f', 'x', 0o600),
    run: (d) => {
      setxattr(join(d, 'f'), ACL_ACCESS, acl([USER_OBJ, 7], [GROUP_OBJ, 5], [OTHER, 1]))
      equal(perms(d, 'f'), 0o751)
      fails(ENODATA, () => getxattr(join(d, 'f'), ACL_ACCESS))
    },
  },
  'have their mask set by chmod': {
    prepare: (d) => write(d, 'f', 'x', 0o640),
    run: (d) => {
      setxattr(
        join(d, 'f'),
        ACL_ACCESS,
        acl([USER_OBJ, 6], [USER, 7, me()], [GROUP_OBJ, 4], [MASK, 7], [OTHER, 0]),
      )
      fs.chmodSync(join(d, 'f'), 0o605)
      const value = acl([USER_OBJ, 6], [USER, 7, me()], [GROUP_OBJ, 4], [MASK, 0], [OTHER, 5])
      ok(getxattr(join(d, 'f'), ACL_ACCESS).equals(value))
    },
  },
  'are removed': {
    prepare: (d) => {
      write(d, 'f', 'x', 0o640)
      setxattr(
        join(d, 'f'),
        ACL_ACCESS,
        acl([USER_OBJ, 6], [USER, 7, me()], [GROUP_OBJ, 4], [MASK, 7], [OTHER, 0]),
      )
    },
    run: (d) => {
      removexattr(join(d, 'f'), ACL_ACCESS)
      fails(ENODATA, () => getxattr(join(d, 'f'), ACL_ACCESS))
    },
  },
  'grant and deny': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'x', 0o600)
      setxattr(
        join(d, 'f'),
        ACL_ACCESS,
        acl([USER_OBJ, 6], [USER, 4, 1234], [GROUP_OBJ, 0], [MASK, 4], [OTHER, 0]),
      )
    },
    run: (d) => {
      asUser(1234, 1234, () => {
        equal(read(d, 'f'), 'x')
        fails(EACCES, () => fs.appendFileSync(join(d, 'f'), 'y'))
      })
      asUser(1235, 1235, () => fails(EACCES, () => read(d, 'f')))
    },
  },
  'by default rule what is made, in place of the umask': {
    prepare: (d) => {
      setxattr(mkdir(d, 'sub'), ACL_DEFAULT, acl([USER_OBJ, 7], [GROUP_OBJ, 5], [OTHER, 0]))
    },
    run: (d) => {
      withUmask(0o077, () => {
        fs.closeSync(fs.openSync(join(d, 'sub/f'), 'wx', 0o666))
        fs.mkdirSync(join(d, 'sub/inner'), 0o777)
        mknod(join(d, 'sub/p'), S_IFIFO | 0o666)
      })
      deepEqual(
        ['f', 'inner', 'p'].map((name) => perms(d, `sub/${name}`)),
        [0o640, 0o750, 0o640],
      )
      ok(getxattr(join(d, 'sub/inner'), ACL_DEFAULT).equals(acl([USER_OBJ, 7], [GROUP_OBJ, 5], [OTHER, 0])))
      fails(ENODATA, () => getxattr(join(d, 'sub/f'), ACL_DEFAULT))
    },
  },
  'by default with named users are handed down': {
    prepare: (d) => void mkdir(d, 'sub'),
    run: (d) => {
      const value = acl([USER_OBJ, 7], [USER, 7, me()], [GROUP_OBJ, 5], [MASK, 7], [OTHER, 0])
      setxattr(join(d, 'sub'), ACL_DEFAULT, value)
      withUmask(0o022, () => fs.closeSync(fs.openSync(join(d, 'sub/f'), 'wx', 0o644)))
      const expected = acl([USER_OBJ, 6], [USER, 7, me()], [GROUP_OBJ, 5], [MASK, 4], [OTHER, 0])
      ok(getxattr(join(d, 'sub/f'), ACL_ACCESS).equals(expected))
      equal(perms(d, 'sub/f'), 0o640)
    },
  },
  'may not be set by others': {
    needs: 'root',
    prepare: (d) => write(d, 'f', 'x', 0o666),
    run: (d) =>
      asMortal(() =>
        fails(EPERM, () =>
          setxattr(join(d, 'f'), ACL_ACCESS, acl([USER_OBJ, 7], [GROUP_OBJ, 7], [OTHER, 7])),
        ),
      ),
  },
  'set by who is not in the group drop setgid': {
    needs: 'root',
    prepare: (d) => {
      write(d, 'f', 'x')
      giveToMortal(join(d, 'f'))
      fs.chownSync(join(d, 'f'), -1, 9999)
      fs.chmodSync(join(d, 'f'), 0o2755)
    },
    run: (d) => {
      asMortal(() => setxattr(join(d, 'f'), ACL_ACCESS, acl([USER_OBJ, 7], [GROUP_OBJ, 5], [OTHER, 5])))
      equal(perms(d, 'f'), 0o755)
      equal(lstat(d, 'f').gid, 9999n)
    },
  },
})

export const xattr = [...plain, ...capability, ...acls]
