import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { errnoName, errnoText, exitCodeOf, KINDS, LayerfsError } from '../src/errors.js'
import type { IdRange } from '../src/idmap.js'
import {
  DEFAULT_TIMEOUT,
  formatLayer,
  formatOptions,
  type LayerSpec,
  type MountOptions,
  type PartialOptions,
  parseLayer,
  parseOptions,
  withDefaults,
} from '../src/options.js'
import { joinPaths, nearest, splitOptions, splitPaths } from '../src/tokens.js'
import { refusal } from './support/refusal.js'

// The same cases every time: a failure is a change's fault, not the dice's.
fc.configureGlobal({ seed: 1, numRuns: 500 })

describe('option strings as the field writes them', () => {
  const lowers = (line: string) => parseOptions(line).lower?.map((l) => l.path)

  test('read-write, with a trailing comma', () => {
    expect(parseOptions('lowerdir=/a:/b,upperdir=/u,workdir=/w,')).toEqual({
      lower: [{ path: '/a' }, { path: '/b' }],
      upper: { path: '/u' },
      work: '/w',
    })
  })

  test.each([
    ['lowerdir=/a\\:b', ['/a:b']],
    ['lowerdir=/a\\\\:b', ['/a:b']],
    ['lowerdir=/a\\134:b', ['/a:b']],
    ['lowerdir=/a\\072b', ['/a:b']],
    ['lowerdir=/a\\,b:/c', ['/a,b', '/c']],
    ['lowerdir=/a\\054b', ['/a,b']],
    ['lowerdir=:/a::/b:', ['/a', '/b']],
    ['lowerdir="/a,b":/c', ['"/a,b"', '/c']],
    ['lowerdir="/a,b:/c"', ['/a,b', '/c']],
    ['lowerdir=/a\\\\b', ['/a\\b']],
  ])('%s', (line, paths) => {
    expect(lowers(line)).toEqual(paths)
  })

  test('a context in quotes keeps its commas', () => {
    const line = 'lowerdir=/a,context="system_u:object_r:container_file_t:s0:c1,c2",ro'
    expect(parseOptions(line).kernelOptions).toEqual([
      'context=system_u:object_r:container_file_t:s0:c1,c2',
      'ro',
    ])
  })

  test("other tools' names for the same", () => {
    const line =
      'lowerdir=/a,uidmapping=:0:1000:1:1:110000:65536,gidmapping=0:0:1,redirect_dir=off,userxattr,squash_to_root'
    expect(parseOptions(line)).toEqual({
      lower: [{ path: '/a' }],
      uidmap: [
        { disk: 0, shown: 1000, count: 1 },
        { disk: 1, shown: 110000, count: 65536 },
      ],
      gidmap: [{ disk: 0, shown: 0, count: 1 }],
      redirect: 'off',
      xattrs: 'user',
      squashUid: 0,
      squashGid: 0,
    })
  })

  test('the last of a repeated option counts; maps and lower add up', () => {
    const line =
      'lowerdir=/a,lowerdir=/b,lowerdir+=/c,timeout=1,timeout=2.5,uidmap=0:0:1,uidmap=1:5:1,lower=/d\\,uidmap=0:9:1'
    expect(parseOptions(line)).toEqual({
      lower: [{ path: '/b' }, { path: '/c' }, { path: '/d', uidmap: [{ disk: 0, shown: 9, count: 1 }] }],
      timeout: 2.5,
      uidmap: [
        { disk: 0, shown: 0, count: 1 },
        { disk: 1, shown: 5, count: 1 },
      ],
    })
  })

  test.each([
    ['lowerdri=/a', 'unknown option "lowerdri": did you mean lowerdir?'],
    ['allow_othr', 'did you mean allow_other?'],
    ['volatil', 'did you mean volatile?'],
    ['zzzzzzzzz=1', 'layerfs mount --help lists the options'],
    ['noatime=1', 'unknown option "noatime"'],
    ['upperdir', 'unknown option "upperdir"'],
    ['transport=carrier', 'use one of auto, kernel, fuse-native'],
    ['redirect=constructor', 'bad value "constructor"'],
    ['timeout=soon', 'a number expected'],
    ['work', 'option work needs a value'],
    ['lower=/a\\,uidmapp=0:0:1', 'unknown "uidmapp=0:0:1" after layer /a'],
    ['lower=', 'no directory in layer'],
  ])('%s is refused', (line, message) => {
    const error = refusal(() => parseOptions(line))
    expect(error.code).toBe('USAGE')
    expect(error.message).toContain(message)
  })

  test('a bad map is told as such', () => {
    expect(refusal(() => parseOptions('uidmap=0:0:1,uidmap=0:5:1')).code).toBe('BAD_MAP')
  })

  test('names of Object.prototype are unknown options', () => {
    for (const name of ['constructor', 'toString', '__proto__'])
      expect(refusal(() => parseOptions(`${name}=1`)).code).toBe('USAGE')
  })

  test('words keep how they were written', () => {
    expect(splitOptions('a\\:b=c\\:d,e,,f=')).toEqual([
      { name: 'a:b', value: 'c:d', raw: 'c\\:d' },
      { name: 'e' },
      { name: 'f', value: '', raw: '' },
    ])
  })
})

// Paths of the letters that mean something, and some that do not.
const path = fc
  .string({
    unit: fc.constantFrom('/', 'a', 'ü', ':', ',', '\\', '"', '=', ' ', '0', '5', '4', '\n'),
    minLength: 1,
    maxLength: 12,
  })
  .map((s) => `/${s}`)
const ranges = fc.constantFrom<IdRange[]>(
  [{ disk: 0, shown: 100000, count: 65536 }],
  [
    { disk: 0, shown: 1000, count: 1 },
    { disk: 1, shown: 110000, count: 65536 },
  ],
)
const layer: fc.Arbitrary<LayerSpec> = fc.record(
  { path, uidmap: ranges, gidmap: ranges },
  { requiredKeys: ['path'] },
)

describe('written and read back', () => {
  test('lowerdir: any paths, one that ends in a backslash with a slash more', () => {
    fc.assert(
      fc.property(fc.array(path, { maxLength: 4 }), (paths) => {
        const same = paths.map((p) => (p.endsWith('\\') ? `${p}/` : p))
        expect(splitPaths(joinPaths(paths))).toEqual(same)
      }),
    )
  })

  test('a layer with its maps', () => {
    fc.assert(
      fc.property(layer, (l) => {
        expect(parseLayer(formatLayer(l))).toEqual(l)
      }),
    )
  })

  const options: fc.Arbitrary<PartialOptions> = fc.record(
    {
      lower: fc.array(
        layer.map((l) => ({ ...l, path: l.path.replace(/\\$/, '') || '/' })),
        { minLength: 1, maxLength: 4 },
      ),
      upper: layer,
      work: path,
      ephemeral: fc.constant(true),
      uidmap: ranges,
      gidmap: ranges,
      squashUid: fc.nat(),
      squashGid: fc.nat(),
      redirect: fc.constantFrom('on', 'follow', 'off'),
      metacopy: fc.constant(true),
      index: fc.constant(true),
      volatile: fc.constant(true),
      whiteouts: fc.constantFrom('overlay', 'oci'),
      xattrs: fc.constantFrom('trusted', 'user'),
      override: fc.constant('xattr'),
      transport: fc.constantFrom('kernel', 'fuse-native'),
      timeout: fc.nat(1000),
      kernelOptions: fc.uniqueArray(fc.constantFrom('allow_other', 'noatime', 'context=a:b,"c\\'), {
        minLength: 1,
      }),
      fsname: path,
      subtype: fc.constant('x'),
      wake: fc.constantFrom('free', 'spin', 'follow'),
      writeback: fc.constantFrom('on', 'off'),
      passthrough: fc.constantFrom('on', 'off'),
      debug: fc.constant(true),
      log: path,
    },
    { requiredKeys: [] },
  )

  test('option strings', () => {
    fc.assert(
      fc.property(options, (o) => {
        expect(parseOptions(formatOptions(o))).toEqual(o)
      }),
    )
  })
})

describe('defaults', () => {
  test('the least there can be', () => {
    expect(withDefaults({ lower: ['/a'], mountpoint: '/m' })).toEqual({
      lower: [{ path: '/a' }],
      ephemeral: false,
      uidmap: [],
      gidmap: [],
      unmappedRoot: 'refuse',
      redirect: 'auto',
      metacopy: false,
      index: false,
      volatile: false,
      whiteouts: 'auto',
      xattrs: 'auto',
      override: 'off',
      mountpoint: '/m',
      transport: 'auto',
      timeout: DEFAULT_TIMEOUT,
      kernelOptions: [],
      wake: 'adaptive',
      writeback: 'auto',
      passthrough: 'auto',
      debug: false,
    } satisfies MountOptions)
  })

  test('they outlive JSON, by which the daemon gets them', () => {
    const o = withDefaults({ lower: ['/a'], upper: '/u', work: '/w', mountpoint: '/m', squashUid: 0 })
    expect(JSON.parse(JSON.stringify(o))).toEqual(o)
  })

  test.each([
    [{ lower: ['/a'] }, 'no mountpoint'],
    [{ mountpoint: '/m' }, 'no lower directory'],
    [{ lower: ['/a'], mountpoint: '/m', upper: '/u' }, 'an upper needs a workdir'],
    [{ lower: ['/a'], mountpoint: '/m', work: '/w' }, 'without an upper'],
    [{ lower: ['/a'], mountpoint: '/m', upper: '/u', work: '/w', ephemeral: true }, '--ephemeral'],
    [{ lower: ['/a'], mountpoint: '/m', timeout: Number.NaN }, 'bad timeout'],
  ])('%j is refused: %s', (input, message) => {
    const error = refusal(() => withDefaults(input))
    expect(error.code).toBe('USAGE')
    expect(error.message).toContain(message)
  })

  test('maps of layers are checked', () => {
    const lower = [{ path: '/a', uidmap: [{ disk: 0, shown: 0, count: 0 }] }]
    expect(refusal(() => withDefaults({ lower, mountpoint: '/m' })).code).toBe('BAD_MAP')
  })
})

describe('errors', () => {
  test('each kind has an exit code of its own, which a shell can tell from a signal', () => {
    const codes = Object.values(KINDS).map(([exit]) => exit)
    expect(new Set(codes).size).toBe(codes.length)
    for (const code of codes) expect(code > 0 && code < 64).toBe(true)
  })

  test('errnos by name and text, of either sign', () => {
    expect(errnoName(-2)).toBe('ENOENT')
    expect(errnoText(13)).toBe('permission denied (EACCES)')
    expect(errnoName(9999)).toBe('errno 9999')
  })

  test('anything thrown has an exit code', () => {
    expect(exitCodeOf(new LayerfsError('BAD_MAP', 'x'))).toBe(14)
    expect(exitCodeOf(new TypeError('x'))).toBe(1)
  })

  test('details', () => {
    const cause = new Error('why')
    const error = new LayerfsError('IO', 'x', { errno: 5, path: '/p', cause })
    expect(error).toMatchObject({ name: 'LayerfsError', code: 'IO', errno: 5, path: '/p', cause })
  })
})

test('the nearest name', () => {
  expect(nearest('uperdir', ['lowerdir', 'upperdir'])).toBe('upperdir')
  expect(nearest('x', ['lowerdir'])).toBeUndefined()
})
