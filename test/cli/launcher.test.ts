/** bin/layerfs: the shell in front, whose program becomes the daemon. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { COMMAND, layerfs, run } from '../support/command.js'
import { mountsBelow } from '../support/mounts.js'
import { type Directories, directories, isRunning, until } from '../support/stack.js'

let d: Directories
beforeEach(() => {
  d = directories()
})
afterEach(() => d.discard())

const words = (...more: string[]) => ['mount', '--lower', d.base, '--ephemeral', ...more, d.mnt]
const isMounted = () => mountsBelow(d.dir).includes(d.mnt)
const pidOf = (): number =>
  (JSON.parse(layerfs(['list', '--json']).stdout) as { mountpoint: string; pid: number }[]).find(
    (m) => m.mountpoint === d.mnt,
  )?.pid ?? Number.NaN

/** Processes whose command line names the mountpoint. */
const involved = (): number[] =>
  fs
    .readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(d.mnt)
      } catch {
        return false
      }
    })

describe('the launcher', () => {
  test('leaves one process, which holds none of the descriptors it was started with', () => {
    const held = d.at('held')
    fs.writeFileSync(held, '')
    const script = 'exec 8>"$HELD"; exec 21>"$HELD"; "$@"'
    const ran = run('bash', ['-c', script, 'bash', COMMAND, ...words()], {
      env: { ...process.env, HELD: held },
    })
    expect(ran).toEqual({ code: 0, stdout: '', stderr: '' })
    const pid = pidOf()
    expect(involved()).toEqual([pid])
    const links = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => fs.readlinkSync(`/proc/${pid}/fd/${fd}`))
    expect(links).not.toContain(held)
    for (const thread of fs.readdirSync(`/proc/${pid}/task`))
      expect(fs.readlinkSync(`/proc/${pid}/task/${thread}/cwd`)).toBe('/')
    expect(fs.readFileSync(`/proc/${pid}/environ`, 'latin1')).toContain('LAYERFS_LAUNCHER=')
    expect(layerfs(['umount', d.mnt]).code).toBe(0)
    expect(isRunning(pid)).toBe(false)
  })

  test('keeps certificates, which take long to read, from the daemon, and leaves them to what `run` starts', () => {
    const certificates = d.at('certificates')
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: certificates }
    expect(run(COMMAND, words(), { env })).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(fs.readFileSync(`/proc/${pidOf()}/environ`, 'latin1')).not.toContain(certificates)
    expect(layerfs(['umount', d.mnt]).code).toBe(0)
    expect(run(process.execPath, [`${COMMAND}.js`, ...words()], { env }).code).toBe(0)
    expect(fs.readFileSync(`/proc/${pidOf()}/environ`, 'latin1')).not.toContain(certificates)
    const script = ['sh', '-c', 'echo "$NODE_EXTRA_CA_CERTS"']
    const ran = run(COMMAND, ['run', '--lower', d.base, '--', ...script], { env })
    expect(ran.stdout).toBe(`${certificates}\n`)
  })

  test('is found through symlinks, as package managers make them', () => {
    fs.symlinkSync(COMMAND, d.at('link'))
    fs.symlinkSync('link', d.at('layerfs'))
    expect(run(d.at('layerfs'), words(), { cwd: '/' }).code).toBe(0)
    expect(isMounted()).toBe(true)
    expect(
      run('layerfs', ['umount', d.mnt], { env: { ...process.env, PATH: `${d.dir}:${process.env.PATH}` } })
        .code,
    ).toBe(0)
  })

  test('tells readiness on a descriptor of the caller, and closes it', () => {
    const script = 'exec 3> >(cat >"$TO"); "$@" --ready-fd 3; code=$?; exec 3>&-; wait $!; exit $code'
    const ran = run('bash', ['-c', script, 'bash', COMMAND, ...words()], {
      env: { ...process.env, TO: d.at('told') },
    })
    expect(ran).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(fs.readFileSync(d.at('told'), 'utf8')).toBe('ready\n')
  })

  test('of fuse-layerfs does the same', () => {
    const program = `${path.dirname(COMMAND)}/fuse-layerfs`
    expect(run(program, ['-o', `lowerdir=${d.base}`, d.mnt])).toEqual({ code: 0, stdout: '', stderr: '' })
    const [pid, ...more] = involved()
    expect(more).toEqual([])
    expect(fs.readFileSync(`/proc/${pid}/environ`, 'latin1')).toContain('LAYERFS_LAUNCHER=')
    run('umount', [d.mnt])
    const failed = run(program, ['-o', 'lowerdir=/nowhere', d.mnt])
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('no such directory: /nowhere') })
    expect(run(program, ['--version']).stdout).toMatch(/^fuse-layerfs: version/)
  })

  test('killed early or late leaves no mount', async () => {
    for (const delay of [0, 30, 100, 120, 130, 140, 150, 160, 200]) {
      const child = spawn(COMMAND, words(), { stdio: 'ignore', detached: true })
      const exited = once(child, 'exit') as Promise<[number | null, string | null]>
      await new Promise((resolve) => setTimeout(resolve, delay))
      // The shell alone: what it started goes on for a while.
      child.kill('SIGKILL')
      const [code, signal] = await exited
      if (code === 0) expect(layerfs(['umount', d.mnt]).code).toBe(0)
      else expect(signal).toBe('SIGKILL')
      await until('all have ended', () => involved().length === 0)
      expect(isMounted()).toBe(false)
    }
  })

  test('stays out of the way of --foreground', async () => {
    const child = spawn(COMMAND, words('--foreground'), { stdio: 'ignore' })
    const exited = once(child, 'exit')
    await until('it is mounted', isMounted)
    // At once: the signal may come before the command knows that it has mounted.
    expect(involved()).toEqual([child.pid])
    child.kill('SIGINT')
    expect(await exited).toEqual([0, null])
    expect(isMounted()).toBe(false)
  })
})
