import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MOUNT_FLAGS, mountCommand, readMountFlags } from '../../src/cli/flags.js'
import { COMMANDS } from '../../src/cli/main.js'
import { version } from '../../src/cli/version.js'
import { layerfs, run } from '../support/command.js'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'layerfs-usage-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

describe('what is wrong with the words', () => {
  test.each([
    ['', 'no command given: see layerfs --help'],
    ['mout x', 'unknown command "mout": did you mean mount?'],
    ['frobnicate', 'unknown command "frobnicate": see layerfs --help'],
    ['mount m', 'no lower directory given'],
    ['mount --lowr a m', 'unknown argument "--lowr": did you mean --lower?'],
    ['list --jso', 'unknown argument "--jso"'],
    ['umount', 'no mountpoint given'],
    ['which', 'a word is missing: see layerfs which --help'],
  ])('layerfs %s', (line, message) => {
    const { code, stdout, stderr } = layerfs(line === '' ? [] : line.split(' '), { cwd: dir })
    expect(stderr).toContain(message)
    expect(stderr).toMatch(/^layerfs: [^\n]+\n$/)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  test.each([
    ['', 'no mountpoint given'],
    ['--lower a', 'no mountpoint given'],
    ['--lower a x y', 'one mountpoint expected, but 2 given: x y'],
    ['--lower', '--lower needs a value: --lower DIR'],
    ['--lower --upper u m', '--lower needs a value: --lower DIR'],
    ['-o', '-o needs a value: -o OPTS'],
    ['--volatile=off m', '--volatile takes no value'],
    ['-x m', 'unknown argument "-x"'],
    ['--lower a --upper b m', 'an upper needs a workdir'],
    ['--lower a --work b m', 'without an upper'],
    ['--lower a --upper b --work c --ephemeral m', '--ephemeral makes an upper of its own'],
    ['--lower a -o lowerdir=b m', 'both by --lower and by -o'],
    ['-o lowerdri=a m', 'unknown option "lowerdri": did you mean lowerdir?'],
    ['--lower a --transport pigeon m', 'use one of auto, kernel, fuse-native'],
    ['--lower a --timeout soon m', 'a number expected'],
    ['--lower a --ready-fd two m', 'the number of an open descriptor expected'],
    ['--lower a,uidmapp=0:0:1 m', 'unknown "uidmapp=0:0:1" after layer a'],
  ])('mount %s', (line, message) => {
    const words = line === '' ? [] : line.split(' ')
    expect(() => readMountFlags(words)).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => readMountFlags(words)).toThrow(message)
  })

  test('a directory that is not UTF-8', () => {
    const { code, stderr } = run('sh', [
      '-c',
      'exec "$0" "$1" mount --lower "$(printf "a\\377")" m',
      process.execPath,
      new URL('../../bin/layerfs.js', import.meta.url).pathname,
    ])
    expect(stderr).toContain('is not UTF-8 text: give a symbolic link to it instead')
    expect(code).toBe(2)
  })
})

test.each(['stats', 'umount'])('%s of what is no mount of ours', (command) => {
  const plain = layerfs([command, dir])
  expect(plain).toMatchObject({ code: 15, stdout: '' })
  expect(plain.stderr).toContain(`${dir} is not a mountpoint`)
  const proc = layerfs([command, '/proc'])
  expect(proc).toMatchObject({ code: 15, stdout: '' })
  expect(proc.stderr).toContain('/proc is a mount of type proc')
  expect(layerfs([command, join(dir, 'no', 'such')]).code).toBe(27)
})

test('which, of a path on no mount of ours and of one that is not there', () => {
  const plain = layerfs(['which', dir])
  expect(plain.stderr).toBe(`layerfs: ${dir} is not on a layerfs mount: layerfs list shows the mounts\n`)
  expect(plain.code).toBe(15)
  expect(layerfs(['which', join(dir, 'no')]).code).toBe(27)
})

test('help and version', () => {
  expect(layerfs(['--version'])).toEqual({ code: 0, stdout: `${version()}\n`, stderr: '' })
  const all = layerfs(['--help'])
  for (const name of Object.keys(COMMANDS)) expect(all.stdout).toContain(`layerfs ${name}`)
  const mount = layerfs(['mount', '--help'])
  expect(mount).toMatchObject({ code: 0, stderr: '' })
  for (const name of Object.keys(MOUNT_FLAGS)) expect(mount.stdout).toContain(`-${name} `)
})

test('completion, of commands and of flags', () => {
  const script = layerfs(['completion'], { env: { ...process.env, SHELL: '/bin/bash' } })
  expect(script.code).toBe(0)
  expect(run('bash', ['-n', '-c', script.stdout]).code).toBe(0)
  const commands = layerfs(['--get-yargs-completions', 'layerfs', 'u'])
  expect(commands.stdout.split('\n')).toContain('umount')
  const flags = layerfs(['--get-yargs-completions', 'layerfs', 'mount', '--lo'])
  expect(flags.stdout).toContain('--lower')
})

describe('the two readers of mount agree', () => {
  const lines = [
    '--lower a --lower b,uidmap=0:1:2 m',
    '--lower=a m --upper u --work w --volatile',
    '-o lowerdir=a:b,ro -o noatime --debug m',
    '-o lowerdir=a m --uidmap 0:0:1 --uidmap 1:5:1',
    '--lower a --foreground --ready-fd 4 --log l m',
  ]
  test.each(lines)('%s', async (line) => {
    const words = line.split(' ')
    const quick = readMountFlags(words)
    const argv = await parserOf(words)
    const flags = Object.keys(MOUNT_FLAGS).flatMap((name) => {
      const given = argv[name]
      if (given === undefined) return []
      return (Array.isArray(given) ? given : [given]).map((value: unknown) =>
        value === true ? { name } : { name, value: String(value) },
      )
    })
    expect(mountCommand(flags, [String(argv.mountpoint)])).toEqual(quick)
  })

  test('words of mount(8) and libfuse: no blank after -o', () => {
    expect(readMountFlags(['-olowerdir=a', 'm'])).toEqual(readMountFlags(['-o', 'lowerdir=a', 'm']))
  })

  /** What yargs makes of the words, with the handler left out. */
  async function parserOf(words: string[]): Promise<Record<string, unknown>> {
    const { command } = await import('../../src/cli/mount.js')
    const { default: yargs } = await import('yargs')
    const base = yargs(words).parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
    })
    const argv = await command.build(base).parseAsync()
    return { ...argv, mountpoint: argv._[0] }
  }
})

test('doctor says of everything what it means', () => {
  const json = layerfs(['doctor', '--json', '--dir', dir])
  const findings = JSON.parse(json.stdout) as { name: string; state: string; means: string }[]
  expect(findings.map((f) => f.name)).toEqual([
    '/dev/fuse',
    'mounting',
    'user namespaces',
    'passthrough',
    'whiteouts',
    'user.* xattrs',
    'trusted.* xattrs',
  ])
  for (const f of findings) {
    expect(['yes', 'limited', 'no']).toContain(f.state)
    expect(f.means.length).toBeGreaterThan(20)
  }
  const text = layerfs(['doctor', '--dir', dir])
  for (const f of findings) expect(text.stdout).toContain(`${f.name}: `)
  expect(text.code).toBe(json.code)
})

test('list, on any machine', () => {
  const { code, stdout } = layerfs(['list', '--json'])
  expect(code).toBe(0)
  expect(Array.isArray(JSON.parse(stdout))).toBe(true)
})
