import fs from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Ran, run } from '../support/command.js'
import { command, environment, type Identity, plainUser } from '../support/identity.js'
import { mountsBelow } from '../support/mounts.js'
import { type Directories, directories } from '../support/stack.js'
import { type Stage, stage } from '../support/stage.js'

// The command as users without privilege run it, from a copy that they can read.
let s: Stage
beforeAll(() => {
  s = stage()
})
afterAll(() => s.remove())

let d: Directories
beforeEach(() => {
  d = directories('plain')
})
afterEach(() => d.discard())

function start(as: Identity, argv: readonly string[], env: NodeJS.ProcessEnv = {}): Ran {
  const [program = '', ...words] = command(as, argv)
  return run(program, words, { cwd: '/', env: { ...environment(as), ...env } })
}

const bin = (...words: string[]): string[] => [s.node, path.join(s.dir, 'bin/layerfs.js'), ...words]
const stack = () => ['--lower', d.top, '--lower', d.base, '--upper', d.upper, '--work', d.work]

describe('a plain user', () => {
  test('mounts, lists, asks and unmounts through fusermount3', () => {
    expect(start('plain', bin('mount', ...stack(), d.mnt))).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(start('plain', ['cat', d.at('mnt', 'both')]).stdout).toBe('top')
    expect(start('plain', ['sh', '-c', `echo new > ${d.mnt}/both`]).code).toBe(0)
    expect(fs.readFileSync(d.at('upper', 'both'), 'utf8')).toBe('new\n')
    expect(fs.statSync(d.at('upper', 'both')).uid).toBe(plainUser().uid)
    const which = start('plain', bin('which', d.at('mnt', 'both')))
    expect(which.stdout).toContain(`provided by  the upper  ${d.upper}/both`)
    const list = start('plain', bin('list'))
    expect(list.stdout).toContain(`${d.upper} (upper) : ${d.top} : ${d.base}`)
    expect(start('plain', bin('umount', d.mnt))).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(mountsBelow(d.dir)).toEqual([])
  })

  test('without fusermount3', () => {
    const ran = start('plain', ['env', `PATH=${d.at('none')}`, ...bin('mount', '--lower', d.base, d.mnt)])
    expect(ran.stderr).toMatch(/^layerfs: fusermount3 is not installed[^\n]*install the package fuse3\n$/)
    expect(ran.code).toBe(10)
  })

  test.each(['on', 'all'])("with passthrough=%s, which is root's", (mode) => {
    const ran = start('plain', bin('mount', '--passthrough', mode, ...stack(), d.mnt))
    expect(ran.stderr).toMatch(/^layerfs: passthrough=\w+ takes CAP_SYS_ADMIN [^\n]+ leave it out\n$/)
    expect(ran.code).toBe(17)
    expect(mountsBelow(d.dir)).toEqual([])
  })

  test('on a directory of another user', () => {
    fs.chownSync(d.mnt, 0, 0)
    const ran = start('plain', bin('mount', '--lower', d.base, d.mnt))
    expect(ran.stderr).toMatch(/^layerfs: fusermount3 refused to mount on [^\n]+\n$/)
    expect(ran.code).toBe(11)
  })

  test('a lower that may not be read', () => {
    fs.chmodSync(d.base, 0)
    fs.chownSync(d.base, 0, 0)
    const ran = start('plain', bin('mount', '--lower', d.base, d.mnt))
    expect(ran.stderr).toContain(d.base)
    expect(ran.code).toBe(22)
  })

  test('asks about a mount of root, which every user may enter', () => {
    const root = start('root', bin('mount', ...stack(), d.mnt))
    expect(root).toMatchObject({ code: 0, stderr: '' })
    const which = start('plain', bin('which', d.at('mnt', 'only-base')))
    expect(which.stdout).toContain(`${d.base}/only-base`)
    const umount = start('plain', bin('umount', d.mnt))
    expect(umount.stderr).toMatch(/^layerfs: [^\n]+ was mounted by another user[^\n]+\n$/)
    expect(umount.code).toBe(22)
    expect(start('root', bin('umount', d.mnt)).code).toBe(0)
  })
})

test('root of a user namespace mounts, writes, unmounts', () => {
  const script = `
    set -e
    layerfs() { "$NODE" "$BIN" "$@"; }
    layerfs mount ${stack().join(' ')} ${d.mnt}
    test "$(cat ${d.mnt}/both)" = top
    echo new > ${d.mnt}/new
    layerfs list
    layerfs umount ${d.mnt}
    test "$(cat ${d.upper}/new)" = new`
  const env = { NODE: s.node, BIN: path.join(s.dir, 'bin/layerfs.js') }
  const ran = start('userns', ['sh', '-c', script], env)
  expect(ran).toMatchObject({ code: 0, stderr: '' })
  expect(ran.stdout).toMatch(new RegExp(`^${d.mnt} +live +kernel `, 'm'))
})
