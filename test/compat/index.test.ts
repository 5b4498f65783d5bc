/** `index=on`: hard links of a lower that stay together, by layerfs and by the kernel's overlayfs in turn. */
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { BIN } from '../support/command.js'
import { Space } from '../support/space.js'
import { Bench, label, type System } from './mount.js'

let bench: Bench
const space = new Space()
afterEach(() => bench.remove())
afterAll(() => space.close())

const layerfs: System = { name: 'layerfs', options: ['index'] }
const overlay: System = { name: 'overlay', options: ['redirect_dir=on', 'index=on'] }
const metacopy = (one: System): System => ({
  ...one,
  options: [...(one.options ?? []), one.name === 'layerfs' ? 'metacopy' : 'metacopy=on'],
})

/** Changes to names of four files of a lower: `one` and `two` with three names, `kept` with two, `gone` with two. */
const STEPS: ((mnt: string) => void)[] = [
  (mnt) => fs.appendFileSync(`${mnt}/one.a`, ' changed'),
  (mnt) => fs.unlinkSync(`${mnt}/one.b`),
  (mnt) => fs.chmodSync(`${mnt}/two.b`, 0o600),
  (mnt) => fs.renameSync(`${mnt}/two.a`, `${mnt}/dir/two.moved`),
  (mnt) => fs.linkSync(`${mnt}/one.c`, `${mnt}/dir/one.new`),
  (mnt) => fs.unlinkSync(`${mnt}/gone.a`),
  (mnt) => fs.renameSync(`${mnt}/plain`, `${mnt}/one.a`),
  (mnt) => fs.appendFileSync(`${mnt}/dir/two.c`, ' longer'),
  (mnt) => fs.unlinkSync(`${mnt}/gone.b`),
  (mnt) => fs.renameSync(`${mnt}/one.c`, `${mnt}/two.b`),
]

function fill(lower: string): void {
  fs.mkdirSync(`${lower}/dir`)
  for (const [name, ...more] of [
    ['one.a', 'one.b', 'one.c'],
    ['two.a', 'two.b', 'dir/two.c'],
    ['kept.a', 'kept.b'],
    ['gone.a', 'gone.b'],
    ['plain'],
  ] as [string, ...string[]][]) {
    fs.writeFileSync(`${lower}/${name}`, `content of ${name}`)
    for (const link of more) fs.linkSync(`${lower}/${name}`, `${lower}/${link}`)
  }
}

const namesBelow = (dir: string): string[] =>
  (fs.readdirSync(dir, { recursive: true }) as string[])
    .filter((name) => !fs.lstatSync(path.join(dir, name)).isDirectory())
    .sort()

/** Each name with its content, link count and the first name of its file. */
function shown(mnt: string): string[] {
  const first = new Map<number, string>()
  return namesBelow(mnt).map((name) => {
    const { ino, nlink, mode } = fs.lstatSync(path.join(mnt, name))
    if (!first.has(ino)) first.set(ino, name)
    return `${name} ${mode.toString(8)} ${nlink} ${first.get(ino)}: ${fs.readFileSync(path.join(mnt, name), 'latin1')}`
  })
}

/** Steps that are done in one mount. */
const AT_ONCE = 2

/** Runs all steps, the systems taking turns, and tells what was seen after each, and by all at last. */
function history(systems: readonly System[]): string[][] {
  bench = new Bench(BIN, space)
  fill(bench.at('lower'))
  const seen: string[][] = []
  for (let i = 0; i < STEPS.length; i += AT_ONCE)
    bench.under(systems[(i / AT_ONCE) % systems.length] as System, (mnt) => {
      for (const step of STEPS.slice(i, i + AT_ONCE)) {
        step(mnt)
        seen.push(shown(mnt))
      }
    })
  for (const reader of systems) bench.under(reader, (mnt) => seen.push(shown(mnt)))
  bench.remove()
  return seen
}

describe('names of lower hard links', () => {
  it('are shown as overlayfs shows them, by the two in turn and with data left below', () => {
    const expected = history([overlay])
    for (const systems of [[layerfs], [overlay, layerfs], [metacopy(layerfs), metacopy(overlay)]]) {
      const got = history(systems)
      expect(got.slice(0, expected.length), systems.map(label).join(' and ')).toEqual(expected)
      expect(got.at(-1)).toEqual(expected.at(-1))
    }
  })

  it('stay in the lower until they are changed themselves', () => {
    bench = new Bench(BIN, space)
    fill(bench.at('lower'))
    const upper = (): string[] => namesBelow(bench.at('upper'))
    bench.under(layerfs, (mnt) => {
      shown(mnt)
      fs.appendFileSync(`${mnt}/one.a`, ' changed')
      expect(fs.readFileSync(`${mnt}/one.b`, 'latin1')).toBe('content of one.a changed')
      expect(upper()).toEqual(['one.a'])
      fs.renameSync(`${mnt}/one.b`, `${mnt}/renamed`)
      expect(upper()).toEqual(['one.a', 'one.b', 'renamed'])
    })
    bench.under(overlay, (mnt) => {
      expect(fs.readFileSync(`${mnt}/one.c`, 'latin1')).toBe('content of one.a changed')
      expect(fs.lstatSync(`${mnt}/one.c`).nlink).toBe(3)
    })
    expect(upper()).toEqual(['one.a', 'one.b', 'renamed'])
  })
})
