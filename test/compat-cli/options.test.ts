import { describe, expect, test } from 'vitest'
import { compatOptions } from '../../src/compat/options.js'
import { readWords } from '../../src/compat/words.js'

const read = (...argv: string[]) => compatOptions(readWords(argv))
const options = (line: string) => read('-o', line, 'm').options

describe('what container engines pass', () => {
  test('podman, read-write: a trailing comma, maps with a leading colon', () => {
    const maps = 'uidmapping=:0:100000:65536,gidmapping=:0:1000:1:1:110000:65536'
    const { options: o, ignored } = read(
      '-o',
      `lowerdir=/l/A:/l/B,upperdir=/u,workdir=/w,,volatile,${maps}`,
      '/m',
    )
    expect(o).toMatchObject({
      lower: [{ path: '/l/A' }, { path: '/l/B' }],
      upper: { path: '/u' },
      work: '/w',
      volatile: true,
      mountpoint: '/m',
      fsname: 'fuse-layerfs',
      redirect: 'off',
      unmappedRoot: 'adopt',
      kernelOptions: ['noatime'],
      uidmap: [{ disk: 0, shown: 100000, count: 65536 }],
      gidmap: [
        { disk: 0, shown: 1000, count: 1 },
        { disk: 1, shown: 110000, count: 65536 },
      ],
    })
    expect(ignored).toEqual([])
  })

  test('podman, read-only, and one id for all', () => {
    const o = options('lowerdir=/diff:/l/A:/empty,squash_to_uid=1000,squash_to_gid=1001')
    expect(o).toMatchObject({ squashUid: 1000, squashGid: 1001 })
    expect(o.upper).toBeUndefined()
    expect(options('lowerdir=/a,squash_to_root')).toMatchObject({ squashUid: 0, squashGid: 0 })
  })

  test('podman with SELinux: a context in quotes', () => {
    const context = 'system_u:object_r:container_file_t:s0:c1,c2'
    expect(options(`lowerdir=/a,context="${context}",ro`).kernelOptions).toEqual([
      `context=${context}`,
      'ro',
      'noatime',
    ])
  })

  test('buildah: an escaped colon, an option that is unknown', () => {
    const { options: o, ignored } = read('-o', 'lowerdir=/a\\:b,upperdir=/u,workdir=/w,private', '/m')
    expect(o.lower).toEqual([{ path: '/a:b' }])
    expect(ignored).toEqual(['private'])
  })

  test('mount.fuse3: a source before the mountpoint, options in several strings', () => {
    const o = read(
      'overlay',
      '/m',
      '-o',
      'workdir=/w',
      '-o',
      'upperdir=/u',
      '-olowerdir=/a:/b',
      '-odev,suid',
    ).options
    expect(o).toMatchObject({ mountpoint: '/m', work: '/w', upper: { path: '/u' } })
    expect(o.kernelOptions).toEqual(['dev', 'suid', 'noatime'])
  })
})

describe('options', () => {
  test.each([
    ['lowerdir=:a', ['a']],
    ['lowerdir=a::b', ['a', 'b']],
    ['lowerdir=a\\\\:b', ['a:b']],
    ['lowerdir=a\\134:b', ['a:b']],
    ['lowerdir=a\\,b', ['a,b']],
    ['lowerdir=a\\054b:c', ['a,b', 'c']],
    ['lowerdir=x,lowerdir=y:z', ['y', 'z']],
  ])('%s', (line, paths) => {
    expect(options(line).lower.map((layer) => layer.path)).toEqual(paths)
  })

  test('the last of several counts, maps too', () => {
    const o = options(
      'lowerdir=a,upperdir=u,upperdir=v,workdir=w,uidmapping=0:1:1,uidmapping=5:6:7,timeout=1,timeout=2.5',
    )
    expect(o.upper).toEqual({ path: 'v' })
    expect(o.uidmap).toEqual([{ disk: 5, shown: 6, count: 7 }])
    expect(o.timeout).toBe(2.5)
  })

  test('an empty upper, or a workdir alone: a read-only mount', () => {
    const o = options('lowerdir=a,upperdir=,workdir=w')
    expect([o.upper, o.work]).toEqual([undefined, undefined])
  })

  test.each([
    ['xattr_permissions=0', { override: 'off' }],
    ['xattr_permissions=1', { override: 'security' }],
    ['xattr_permissions=2', { override: 'xattr' }],
    ['writeback=0', { writeback: 'off' }],
    ['writeback=1', { writeback: 'on' }],
    ['fsync=0', { volatile: true }],
    ['fsync=1', { volatile: false }],
    ['redirect_dir=off', { redirect: 'off' }],
    ['redirect_dir=nofollow', { redirect: 'off' }],
    ['redirect_dir=on', { redirect: 'on' }],
    ['metacopy=on', { metacopy: true }],
    ['debug', { debug: true }],
    ['allow_other,nosuid', { kernelOptions: ['allow_other', 'nosuid', 'noatime'] }],
    ['atime', { kernelOptions: ['atime'] }],
    ['relatime,nodev', { kernelOptions: ['relatime', 'nodev'] }],
  ])('%s', (line, expected) => {
    expect(options(`lowerdir=a,${line}`)).toMatchObject(expected)
  })

  test('what changes nothing here is taken in silence', () => {
    const line =
      'threaded=1,fast_ino=0,static_nlink,noacl,noxattrs=1,xino=auto,ino32_t,clone_fd,max_threads=4,auto_unmount'
    expect(read('-s', '-o', `lowerdir=a,${line}`, 'm').ignored).toEqual([])
  })

  test('what is unknown is told', () => {
    expect(read('-o', 'lowerdir=a,frob,x=y', '--zork', '-q', 'm').ignored).toEqual([
      'frob',
      'x=y',
      '--zork',
      '-q',
    ])
  })

  test.each([
    [['-o', 'lowerdir=a'], 'no mountpoint specified'],
    [['m'], 'no lower directories specified'],
    [['-o', 'lowerdir=', 'm'], 'no lower directories specified'],
    [['-o', 'lowerdir=a,upperdir=u', 'm'], 'workdir not specified'],
    [['-o', 'lowerdir=a,uidmapping=0:1', 'm'], 'bad id map "0:1"'],
    [['-o', 'lowerdir=a,writeback=maybe', 'm'], 'bad value "maybe" for writeback'],
    [['-o', 'lowerdir=a,xattr_permissions=3', 'm'], 'bad value "3" for xattr_permissions'],
    [['m', '-o'], 'missing argument after -o'],
  ])('%j is refused', (argv, message) => {
    expect(() => read(...argv)).toThrow(message)
  })
})

test('switches', () => {
  expect(readWords(['-f', '-d', 'm'])).toMatchObject({ foreground: true, debug: true, positionals: ['m'] })
  expect(readWords(['-h']).help).toBe(true)
  expect(readWords(['-V']).version).toBe(true)
  expect(readWords(['--version']).version).toBe(true)
  expect(readWords(['--', '-m']).positionals).toEqual(['-m'])
})
