import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Fixture } from '../../src/testing/index.js'
import { BIN } from '../support/command.js'
import { command, environment, plainUser, scratch } from '../support/identity.js'
import { discard, mountOverlay, mountsBelow, umount } from '../support/mounts.js'
import { run } from '../support/shell.js'
import { differences, snapshot } from '../support/tree.js'
import { makeTree, namesIn, TESTING, testing } from './kit.js'

const TREE = ['index.html', 'posts/', 'posts/first.md', 'posts/second.md']

let dir: string
let lower: string
let files: Fixture
beforeEach(async () => {
  dir = scratch('testing')
  lower = makeTree(path.join(dir, 'site'))
  files = await (await testing()).fixture({ lower })
})
afterEach(async () => {
  await files.unmount()
  discard(dir)
})

const at = (name: string): string => path.join(files.path, name)
const read = (name: string): string => fs.readFileSync(at(name), 'utf8')

/** Warnings that `work` gives rise to. */
async function warnings(work: () => Promise<unknown>): Promise<string[]> {
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  try {
    await work()
    return spy.mock.calls.map(([what]) => String(what))
  } finally {
    spy.mockRestore()
  }
}

describe('a fixture', () => {
  it('shows its lower to synchronous calls of this process and to others, and leaves it as it is', async () => {
    expect(namesIn(files.path)).toEqual(TREE)
    execFileSync('sh', ['-c', 'rm index.html; echo x > posts/new'], { cwd: files.path })
    expect(namesIn(files.path)).toEqual(['posts/', 'posts/first.md', 'posts/new', 'posts/second.md'])
    expect(fs.existsSync(path.join(files.upper ?? '', 'posts/new'))).toBe(true)
    expect(namesIn(lower)).toEqual(TREE)
  })

  it('stacks several directories, the first on top', async () => {
    const top = path.join(dir, 'top')
    fs.mkdirSync(top)
    fs.writeFileSync(path.join(top, 'index.html'), 'top\n')
    const { fixture } = await testing()
    const both = await fixture({ lower: [top, lower] })
    expect(fs.readFileSync(path.join(both.path, 'index.html'), 'utf8')).toBe('top\n')
    expect(namesIn(both.path)).toEqual(TREE)
    await both.unmount()
    expect(fs.existsSync(both.path)).toBe(false)
  })

  it('tells what has changed, as a list and as a patch', async () => {
    expect(await files.diff()).toEqual([])
    fs.appendFileSync(at('index.html'), 'more\n')
    fs.mkdirSync(at('new'))
    fs.writeFileSync(at('new/file'), 'new\n')
    fs.rmSync(at('posts/first.md'))
    fs.chmodSync(at('posts/second.md'), 0o600)
    expect(await files.diff()).toEqual([
      { path: 'index.html', change: 'C', kind: 'modified' },
      { path: 'new', change: 'A', kind: 'added' },
      { path: 'new/file', change: 'A', kind: 'added' },
      { path: 'posts', change: 'C', kind: 'contents' },
      { path: 'posts/first.md', change: 'D', kind: 'deleted' },
      { path: 'posts/second.md', change: 'C', kind: 'metadata' },
    ])
    expect(await files.patch()).toContain(
      '--- a/index.html\n+++ b/index.html\n@@ -1,1 +1,2 @@\n <h1>Home</h1>\n+more\n',
    )
  })

  it('is reset to what it was, its root too, as often as wanted', async () => {
    const before = snapshot(files.path)
    for (let i = 0; i < 3; i++) {
      fs.rmSync(at('posts'), { recursive: true })
      fs.writeFileSync(at('posts'), 'a file now')
      fs.renameSync(at('index.html'), at('other'))
      fs.chmodSync(files.path, 0o700)
      execFileSync('setfattr', ['-n', 'user.mark', '-v', 'x', files.path])
      expect(await files.reset()).toEqual([])
      expect(differences(before, snapshot(files.path))).toEqual([])
      expect(await files.diff()).toEqual([])
    }
  })

  it('tells of files that are still open when it is reset', async () => {
    const changed = fs.openSync(at('index.html'), 'r+')
    fs.writeSync(changed, 'leaked')
    const unchanged = fs.openSync(at('posts/first.md'), 'r')
    const told = await warnings(async () => {
      expect(await files.reset()).toEqual([
        { pid: process.pid, command: expect.any(String), path: at('index.html') },
      ])
    })
    expect(told).toEqual([expect.stringContaining(`1 changed file is still open in ${files.path}`)])
    expect(read('index.html')).toBe('<h1>Home</h1>\n')
    fs.writeSync(changed, 'on')
    expect(fs.readFileSync(unchanged, 'utf8')).toBe('# First\n')
    fs.closeSync(changed)
    fs.closeSync(unchanged)
    expect(read('index.html')).toBe('<h1>Home</h1>\n')
  })

  it('tells of files that another program holds, though their directory is gone, or only mapped', async () => {
    const held = [
      'import mmap, os, time',
      'file = open("index.html", "r+b")',
      'mapped = mmap.mmap(file.fileno(), 0)',
      'mapped[0:1] = b"Z"',
      'os.closerange(3, 64)',
      'os.mkdir("new")',
      'kept = open("new/file", "w")',
      'print("held", flush=True)',
      'time.sleep(50)',
    ]
    const child = spawn('python3', ['-c', held.join('\n')], {
      cwd: files.path,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const ended = once(child, 'close')
    await once(child.stdout, 'data')
    const told = await warnings(async () => {
      const leaks = await files.reset()
      const paths = leaks.filter(({ command }) => command.startsWith('python')).map((leak) => leak.path)
      expect(paths.sort()).toEqual([at('index.html'), at('new/file')])
    })
    expect(told).toEqual([expect.stringContaining('2 changed files are still open')])
    expect(namesIn(files.path)).toEqual(TREE)
    child.kill('SIGKILL')
    await ended
  })

  it('keeps states and restores them, in any order', async () => {
    fs.writeFileSync(at('one'), '1')
    fs.rmSync(at('posts/first.md'))
    fs.linkSync(at('one'), at('posts/link'))
    fs.symlinkSync('one', at('symlink'))
    fs.chmodSync(files.path, 0o750)
    const one = await files.snapshot()
    const seen = snapshot(files.path)
    fs.rmSync(at('posts'), { recursive: true })
    fs.mkdirSync(at('posts'))
    fs.writeFileSync(at('posts/two'), '2')
    const two = await files.snapshot()
    await files.restore(one)
    expect(differences(seen, snapshot(files.path))).toEqual([])
    fs.writeFileSync(at('one'), 'written after it was restored')
    await files.restore(two)
    expect(namesIn(files.path)).toEqual(['index.html', 'one', 'posts/', 'posts/two', 'symlink'])
    await files.restore(one)
    expect(read('one')).toBe('1')
    expect(fs.statSync(at('one')).nlink).toBe(2)
    await files.reset()
    expect(namesIn(files.path)).toEqual(TREE)
  })

  it('becomes a layer that overlayfs takes', async () => {
    fs.appendFileSync(at('index.html'), 'more\n')
    fs.rmSync(at('posts/first.md'))
    fs.writeFileSync(at('new'), 'new\n')
    const layer = path.join(dir, 'layer')
    await files.commit(layer)
    expect(namesIn(layer)).toEqual(['index.html', 'new', 'posts/', 'posts/first.md'])
    const merged = path.join(dir, 'merged')
    fs.mkdirSync(merged)
    mountOverlay({ lower: [layer, lower], mountpoint: merged })
    expect(namesIn(merged)).toEqual(['index.html', 'new', 'posts/', 'posts/second.md'])
    umount(merged)
  })

  it('is detached where it is in use when it ends, and who uses it is told', async () => {
    const { fixture } = await testing()
    const other = await fixture({ lower })
    const fd = fs.openSync(path.join(other.path, 'index.html'), 'r')
    const told = await warnings(() => other.unmount())
    expect(told).toEqual([expect.stringMatching(/in use by .*index\.html.*It is detached/)])
    expect(fs.readFileSync(fd, 'utf8')).toBe('<h1>Home</h1>\n')
    expect(fs.existsSync(path.dirname(other.path))).toBe(false)
    fs.closeSync(fd)
  })

  it('ends with the block that uses it', async () => {
    const { fixture } = await testing()
    const seen: string[] = []
    {
      await using other = await fixture({ lower })
      seen.push(other.path)
      expect(namesIn(other.path)).toEqual(TREE)
    }
    expect(seen.map((name) => fs.existsSync(path.dirname(name)))).toEqual([false])
  })

  it('has many neighbours, which do not see each other', async () => {
    const { fixture } = await testing()
    const all = await Promise.all(Array.from({ length: 8 }, () => fixture({ lower })))
    for (const [i, one] of all.entries()) fs.writeFileSync(path.join(one.path, 'mine'), String(i))
    for (const [i, one] of all.entries()) {
      expect(fs.readFileSync(path.join(one.path, 'mine'), 'utf8')).toBe(String(i))
      expect(await one.diff()).toEqual([{ path: 'mine', change: 'A', kind: 'added' }])
    }
    await Promise.all(all.map((one) => one.unmount()))
    for (const one of all) expect(fs.existsSync(one.path)).toBe(false)
  })

  it('says what is wrong with its directories, and leaves nothing', async () => {
    const { fixture } = await testing()
    await expect(fixture({ lower: path.join(dir, 'none') })).rejects.toMatchObject({
      code: 'NO_SUCH_DIRECTORY',
    })
    await expect(fixture({ lower: [] })).rejects.toMatchObject({ code: 'USAGE' })
  })
})

describe('assertions', () => {
  it('take the paths that have changed, directories that hold them or not', async () => {
    const { assertChanged, assertUnchanged } = await testing()
    await assertUnchanged(files)
    fs.mkdirSync(at('new/deep'), { recursive: true })
    fs.writeFileSync(at('new/deep/file'), 'x')
    fs.rmSync(at('posts'), { recursive: true })
    await assertChanged(files, ['new/deep/file', 'posts'])
    await assertChanged(files, ['/new', './new/deep/', 'new/deep/file', 'posts'])
    await expect(assertUnchanged(files)).rejects.toThrow('the fixture should be unchanged\n')
  })

  it('show what differs, with a patch', async () => {
    const { assertChanged } = await testing()
    fs.appendFileSync(at('index.html'), 'more\n')
    fs.writeFileSync(at('new'), 'new\n')
    const failed = await assertChanged(files, ['new', 'posts/first.md']).catch(
      (error: Error) => error.message,
    )
    expect(failed).toBe(
      [
        'the fixture has changed otherwise than named',
        '  - posts/first.md: named, but unchanged',
        '  + C index.html (modified)',
        '    A new: as named',
        '',
        '--- a/index.html',
        '+++ b/index.html',
        '@@ -1,1 +1,2 @@',
        ' <h1>Home</h1>',
        '+more',
        '--- /dev/null',
        '+++ b/new',
        '@@ -0,0 +1,1 @@',
        '+new',
      ].join('\n'),
    )
  })
})

const script = (body: string, options: object): string => `
  import fs from 'node:fs'
  import { assertUnchanged, fixture, freeStale } from ${JSON.stringify(TESTING)}
  const files = await fixture(${JSON.stringify(options)})
  ${body}`

describe('a plain user', () => {
  it('has fixtures whose directories belong to root', async () => {
    const tmp = scratch('testing-plain', 'plain')
    const { uid, gid } = plainUser()
    const options = { lower, squashUid: uid, squashGid: gid }
    fs.chmodSync(dir, 0o755)
    const body = `
      await assertUnchanged(files)
      fs.appendFileSync(files.path + '/index.html', 'more')
      fs.rmSync(files.path + '/posts', { recursive: true })
      const kept = await files.snapshot()
      await files.reset()
      await assertUnchanged(files)
      await files.restore(kept)
      console.log((await files.diff()).map((c) => c.change + ' ' + c.path).join())
      await files.unmount()`
    for (const name of ['', 'posts', 'posts/first.md', 'posts/second.md', 'index.html'])
      fs.chmodSync(path.join(lower, name), name.includes('.') ? 0o666 : 0o777)
    const ran = await run(
      command('plain', [process.execPath, '--input-type=module', '-e', script(body, options)]),
      { cwd: '/', env: { ...environment('plain'), TMPDIR: tmp } },
    )
    expect(ran).toEqual({ status: 0, output: 'C index.html,D posts\n' })
    expect(fs.readdirSync(tmp)).toEqual([])
    discard(tmp)
  })
})

describe('a process that dies', () => {
  it('leaves what the next one frees', async () => {
    const tmp = path.join(dir, 'tmp')
    fs.mkdirSync(tmp)
    const env = { ...process.env, TMPDIR: tmp }
    const node = (body: string) =>
      run([process.execPath, '--input-type=module', '-e', script(body, { lower })], { env })
    const died = await node(
      `fs.writeFileSync(files.path + '/new', 'x'); process.kill(process.pid, 'SIGKILL')`,
    )
    expect(died.status).toBe('SIGKILL')
    expect(mountsBelow(tmp)).toHaveLength(1)
    expect(fs.readdirSync(tmp)).toHaveLength(2)
    const next = await node(
      `console.log(fs.readdirSync(${JSON.stringify(tmp)}).length); await files.unmount()`,
    )
    expect(next).toEqual({ status: 0, output: '2\n' })
    expect(mountsBelow(tmp)).toEqual([])
    expect(fs.readdirSync(tmp)).toEqual([])
  })

  it('leaves what layerfs umount --stale frees', async () => {
    const tmp = path.join(dir, 'tmp')
    fs.mkdirSync(tmp)
    const env = { ...process.env, TMPDIR: tmp }
    const body = `fs.writeFileSync(files.path + '/new', 'x'); process.kill(process.pid, 'SIGKILL')`
    const died = await run([process.execPath, '--input-type=module', '-e', script(body, { lower })], { env })
    expect(died.status).toBe('SIGKILL')
    const [mnt = ''] = mountsBelow(tmp)
    const layerfs = [process.execPath, BIN, 'umount', '--stale']
    // The dead mounts of tests that run at the same time are not ours to free.
    const freed = await run(['unshare', '--mount', '--propagation', 'private', ...layerfs], { env })
    expect(freed.output).toContain(`freed ${mnt}\n`)
    expect(freed.output).toContain(`removed ${path.dirname(mnt)}\n`)
    expect(freed.status).toBe(0)
    expect(fs.readdirSync(tmp)).toEqual([])
    // Its mountpoint is gone, and with it the mount in every other namespace.
    expect(mountsBelow(tmp)).toEqual([])
  })

  it('leaves nothing where it ends by itself, without unmounting', async () => {
    const tmp = path.join(dir, 'tmp')
    fs.mkdirSync(tmp)
    const env = { ...process.env, TMPDIR: tmp }
    const body = `fs.writeFileSync(files.path + '/new', 'x'); throw new Error('as asked')`
    const ran = await run([process.execPath, '--input-type=module', '-e', script(body, { lower })], { env })
    expect(ran.output).toContain('as asked')
    expect(ran.status).toBe(1)
    expect(mountsBelow(tmp)).toEqual([])
    expect(fs.readdirSync(tmp)).toEqual([])
  })

  it('does not have its fixtures freed while it lives', async () => {
    const { freeStale } = await testing()
    expect(await freeStale()).not.toContain(path.dirname(files.path))
    expect(namesIn(files.path)).toEqual(TREE)
  })
})

describe('without FUSE', () => {
  /** Runs in a mount namespace where /dev/fuse is another device. */
  const withoutFuse = (body: string, options: object) =>
    run([
      ...['unshare', '--mount', 'sh', '-c', 'mount --bind /dev/null /dev/fuse && exec "$@"', 'sh'],
      ...[process.execPath, '--input-type=module', '-e', script(body, options)],
    ])

  it('fails, unless a copy was asked for', async () => {
    const ran = await withoutFuse('', { lower })
    expect(ran.output).toContain('MOUNT_FAILED')
    expect(ran.status).toBe(1)
  })

  it('does on a copy what it does on a mount, and says so', async () => {
    const body = `
      const tell = async () => console.log((await files.diff()).map((c) => c.change + ' ' + c.path).join())
      const write = (name, text) => fs.writeFileSync(files.path + '/' + name, text)
      console.log(files.how, files.upper)
      await assertUnchanged(files)
      write('index.html', 'changed')
      fs.rmSync(files.path + '/posts/first.md')
      await tell()
      const kept = await files.snapshot()
      write('new', 'x')
      await tell()
      await files.restore(kept)
      await tell()
      await files.commit(${JSON.stringify(path.join(dir, 'layer'))})
      await files.reset()
      await assertUnchanged(files)
      await files.unmount()
      console.log(fs.existsSync(files.path))`
    const ran = await withoutFuse(body, { lower, fallback: 'copy' })
    expect(ran.output).toContain('LayerfsWarning: fixtures are copied, as nothing can be mounted')
    expect(ran.output).toContain('copy undefined\n')
    expect(ran.output).toContain('C index.html,C posts,D posts/first.md\nC index.html,A new,')
    expect(ran.output).toContain('D posts/first.md\nfalse\n')
    expect(ran.status, ran.output).toBe(0)
    const merged = path.join(dir, 'merged')
    fs.mkdirSync(merged)
    mountOverlay({ lower: [path.join(dir, 'layer'), lower], mountpoint: merged })
    expect(namesIn(merged)).toEqual(['index.html', 'posts/', 'posts/second.md'])
    umount(merged)
  })
})
