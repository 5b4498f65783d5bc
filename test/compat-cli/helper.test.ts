import { expect, test } from 'vitest'
import { isHelperCall, readHelperCall } from '../../src/compat/helper.js'

test('a line of fstab: words of mount(8) and systemd change nothing', () => {
  const words =
    'rw,_netdev,noauto,nofail,user=joe,x-systemd.automount,x-systemd.requires=/srv,X-foo=bar,comment=x y'
  const argv = [
    'none',
    '/m',
    '-o',
    `${words},lowerdir=/a:/b\\:c,upperdir=/u,workdir=/w`,
    '-n',
    '-t',
    'fuse.layerfs',
  ]
  const { options, fake } = readHelperCall(argv)
  expect(fake).toBe(false)
  expect(options).toMatchObject({
    lower: [{ path: '/a' }, { path: '/b:c' }],
    upper: { path: '/u' },
    work: '/w',
    mountpoint: '/m',
    fsname: 'none',
    subtype: 'layerfs',
    kernelOptions: ['rw'],
  })
})

test.each([
  [['a', '/m', '-fo', 'lowerdir=/a'], 'unknown argument "-fo"'],
  [['/m', '-o', 'lowerdir=/a'], 'a source and a mountpoint expected'],
  [['a', '/m', 'b', '-o', 'lowerdir=/a'], 'a source and a mountpoint expected'],
  [['a', '/m', '-o', 'lowerdri=/a'], 'unknown option "lowerdri": did you mean lowerdir?'],
  [['a', '/m', '-o'], 'missing argument after -o'],
])('%j is refused', (argv, message) => {
  expect(() => readHelperCall(argv)).toThrow(message)
})

test('-f mounts nothing, -r is ro', () => {
  expect(readHelperCall(['a', '/m', '-f', '-r', '-olowerdir=/a'])).toMatchObject({
    fake: true,
    options: { kernelOptions: ['ro'], fsname: 'a' },
  })
})

test('the words by which mount.fuse3(8) calls', () => {
  expect(isHelperCall(['overlay', '/m', '-o', 'lowerdir=/a,dev,suid'])).toBe(true)
  expect(isHelperCall(['none', '/m', '-olowerdir=/a'])).toBe(true)
  expect(isHelperCall(['frobnicate'])).toBe(false)
  expect(isHelperCall(['frobnicate', '--lower', 'a'])).toBe(false)
})
