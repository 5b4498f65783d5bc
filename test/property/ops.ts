/** Random operations on a small tree, so that names meet often. */
import fc from 'fast-check'
import { RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFIFO, S_IFSOCK } from '../../src/abi/linux.js'
import type { Driver } from './driver.js'

/** Something done to the tree: one call of a Driver. */
export interface Op {
  call: Exclude<keyof Driver, 'facts'>
  /** The paths it names, the one that must exist first. */
  paths: string[]
  rest: (string | number)[]
}

/** Something done to the stack, which changes nothing that the tree shows. */
export type Turn =
  /** The mount ends and begins anew. */
  | 'remount'
  /** The upper becomes the topmost lower. */
  | 'commit'
  /** The kernel forgets all it knew. */
  | 'forget'
  /** What follows is done through the kernel's overlayfs, up to the next turn. */
  | 'overlay'

export type Step = Op | { turn: Turn }

const name = fc.constantFrom('a', 'b', 'c', 'd')
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const data = fc.string({ unit: fc.constantFrom('x', 'y', 'z'), minLength: 1, maxLength: 12 })
const mode = fc.constantFrom(0o600, 0o644, 0o755, 0o700, 0o4755, 0o1777, 0o2755)
const xattr = fc.constantFrom('user.one', 'trusted.two', 'trusted.overlay.opaque')

const op = (call: Op['call'], paths: 1 | 2, ...rest: fc.Arbitrary<string | number>[]): fc.Arbitrary<Op> =>
  fc
    .tuple(fc.tuple(path, path), fc.tuple(...rest))
    .map(([both, args]) => ({ call, paths: both.slice(0, paths), rest: args }))

const ops = (weight: number, arbitrary: fc.Arbitrary<Step>): fc.WeightedArbitrary<Step> => ({
  weight,
  arbitrary,
})

const renameFlags = fc.constantFrom(0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE)

export const step: fc.Arbitrary<Step> = fc.oneof(
  ops(6, op('write', 1, data, fc.constantFrom(0, 3, 5000))),
  ops(4, op('rewrite', 1, data)),
  ops(2, op('createNew', 1, mode)),
  ops(3, op('truncate', 1, fc.constantFrom(0, 2, 9000))),
  ops(9, op('mkdir', 1, mode)),
  ops(4, op('rmdir', 1)),
  ops(5, op('unlink', 1)),
  ops(10, op('rename', 2, renameFlags)),
  ops(4, op('link', 2)),
  ops(2, op('symlink', 1, fc.constant('some/target'))),
  ops(1, op('mknod', 1, fc.constantFrom(S_IFIFO | 0o644, S_IFSOCK | 0o600))),
  ops(2, op('chmod', 1, mode)),
  ops(2, op('chown', 1, fc.constantFrom(0, 7, 70000), fc.constantFrom(0, 9))),
  ops(3, op('utimens', 1, fc.constantFrom(1000, -1000, 1e9), fc.constantFrom(0, 123456789))),
  ops(2, op('setxattr', 1, xattr, data)),
  ops(1, op('removexattr', 1, xattr)),
  ops(2, op('tmpfile', 1, data)),
  ops(
    4,
    fc.constantFrom<Turn>('remount', 'commit', 'forget', 'overlay').map((turn) => ({ turn })),
  ),
)

const make = (call: Op['call'], path: string, ...rest: Op['rest']): Op => ({ call, paths: [path], rest })

/** What most histories begin with: a lower layer that has something at many of the names. */
const BEGINNING: Step[] = [
  ...['a', 'a/b', 'a/b/c', 'b', 'b/a', 'b/c'].map((dir) => make('mkdir', dir, 0o755)),
  ...['c', 'a/c', 'a/b/a', 'a/b/c/d', 'b/a/d', 'b/b'].map((file) => make('rewrite', file, file)),
  { call: 'link', paths: ['a/c', 'b/d'], rest: [] },
  { call: 'link', paths: ['c', 'd'], rest: [] },
  { call: 'link', paths: ['c', 'a/d'], rest: [] },
  { turn: 'commit' },
]

/** What is asked of both, layerfs and the kernel's overlayfs, beside `redirect`. */
export interface Features {
  index: boolean
  metacopy: boolean
}

export const features: fc.Arbitrary<Features> = fc.record({ index: fc.boolean(), metacopy: fc.boolean() })

export const steps = (most: number): fc.Arbitrary<Step[]> =>
  fc
    .tuple(
      fc.constantFrom([], BEGINNING, BEGINNING, BEGINNING),
      fc.array(step, { minLength: 5, maxLength: most, size: 'max' }),
    )
    .map(([beginning, rest]) => [...beginning, ...rest])

/** An operation as a line of code, for a failure's report. */
export const print = (one: Step): string =>
  'turn' in one
    ? `-- ${one.turn}`
    : `${one.call}(${[...one.paths, ...one.rest].map((a) => JSON.stringify(a)).join(', ')})`

/** Does it. */
export function act(driver: Driver, { call, paths, rest }: Op): void {
  const f = driver[call] as (...args: (string | number)[]) => void
  f.apply(driver, [...paths, ...rest])
}
