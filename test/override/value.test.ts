import { describe, expect, test } from 'vitest'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from '../../src/abi/linux.js'
import { makedev } from '../../src/sys/stat.js'
import { formatOverride, parseOverride } from '../../src/union/override.js'
import { Attr } from '../../src/vfs.js'

const file = (mode = S_IFREG | 0o600): Attr =>
  Object.assign(new Attr(), { mode, uid: 1001, gid: 1002, size: 5 })

describe('what is read', () => {
  test.each([
    ['0:0:0755', S_IFREG | 0o755],
    ['0:0:755', S_IFREG | 0o755],
    ['0:0:100644', S_IFREG | 0o644],
    ['0:0:04755:file', S_IFREG | 0o4755],
    ['0:0:0777:symlink', S_IFLNK | 0o777],
    ['0:0:0120777', S_IFLNK | 0o777],
    ['0:0:0600:pipe', S_IFIFO | 0o600],
    ['0:0:0600:socket', S_IFSOCK | 0o600],
    ['0:0:0:file', S_IFREG],
  ])('%s on a regular file', (value, mode) => {
    const attr = file()
    expect(parseOverride(value, attr)).toBe(true)
    expect(attr).toMatchObject({ uid: 0, gid: 0, mode, size: 5 })
  })

  test('devices', () => {
    const char = file()
    expect(parseOverride('1:2:0666:char-1-3', char)).toBe(true)
    expect(char).toMatchObject({ uid: 1, gid: 2, mode: S_IFCHR | 0o666, rdev: makedev(1, 3), size: 0 })
    const block = file()
    expect(parseOverride('1:2:060660:block-259-1048575', block)).toBe(true)
    expect(block).toMatchObject({ mode: S_IFBLK | 0o660, rdev: makedev(259, 1048575) })
  })

  test('a directory stays one', () => {
    const dir = file(S_IFDIR | 0o700)
    expect(parseOverride('3:4:01777:dir', dir)).toBe(true)
    expect(dir).toMatchObject({ uid: 3, gid: 4, mode: S_IFDIR | 0o1777 })
  })
})

describe('what makes no sense changes nothing', () => {
  test.each([
    '',
    'junk',
    '0:0',
    ':::',
    '0:0:0888',
    '-1:0:0644',
    '4294967295:0:0644',
    '0:4294967295:0644',
    '99999999999:0:0644',
    '0:0:0644:',
    '0:0:0644:dir',
    '0:0:040755',
    '0:0:0644:whatever',
    '0:0:0644:char',
    '0:0:020644',
    '0:0:0644:char-0-0',
    '0:0:0644:char-4096-0',
    '0:0:0644:block-1-1048576',
    '0:0:0170000',
    '0:0:0644:file\n',
    ' 0:0:0644',
    '0x0:0:0644',
  ])('%j on a regular file', (value) => {
    const attr = file()
    expect(parseOverride(value, attr)).toBe(false)
    expect(attr).toEqual(file())
  })

  test.each(['0:0:0644:file', '0:0:0644:symlink', '0:0:0666:char-1-3', '0:0:0100644'])(
    '%s on a directory',
    (value) => {
      const attr = file(S_IFDIR | 0o700)
      expect(parseOverride(value, attr)).toBe(false)
      expect(attr).toEqual(file(S_IFDIR | 0o700))
    },
  )
})

test.each([
  [S_IFREG | 0o4755, 0, '7:8:04755:file'],
  [S_IFREG, 0, '7:8:00:file'],
  [S_IFDIR | 0o1777, 0, '7:8:01777:dir'],
  [S_IFLNK | 0o777, 0, '7:8:0777:symlink'],
  [S_IFIFO | 0o600, 0, '7:8:0600:pipe'],
  [S_IFSOCK | 0o600, 0, '7:8:0600:socket'],
  [S_IFCHR | 0o666, makedev(1, 3), '7:8:0666:char-1-3'],
  [S_IFBLK | 0o660, makedev(4095, 1048575), '7:8:0660:block-4095-1048575'],
])('what is written is read back: %o, %i', (mode, rdev, text) => {
  const attr = Object.assign(new Attr(), { mode, uid: 7, gid: 8, rdev })
  expect(formatOverride(attr)).toBe(text)
  const back = file(
    (mode & S_IFDIR) === S_IFDIR && (mode & S_IFREG) === 0 ? S_IFDIR | 0o700 : S_IFREG | 0o600,
  )
  if ((mode & 0o170000) !== S_IFDIR) back.mode = S_IFREG | 0o600
  expect(parseOverride(text, back)).toBe(true)
  expect(back).toMatchObject({ mode, uid: 7, gid: 8, rdev })
})
