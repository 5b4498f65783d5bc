/** Traps of layers and mounts: lowers untouched, symlinks, overlaps, crashes, limits. */
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { ENOTCONN, ETXTBSY, S_IFLNK, S_IFMT, S_IFREG } from '../../../src/abi/linux.js'
import { LOCK_EX, LOCK_NB } from '../../../src/sys/file.js'
import { F_UNLCK, F_WRLCK, flock, lockRange, statx } from '../../support/sys.js'
import {
  deepEqual,
  equal,
  exists,
  fails,
  list,
  mkdir,
  ok,
  type Place,
  read,
  type Traps,
  withFd,
  write,
} from '../trap.js'

/** Everything stat says of a tree, access times included. */
function everything(top: string): Record<string, unknown> {
  const all: Record<string, unknown> = {}
  const visit = (file: string): void => {
    const attr = statx(file)
    all[path.relative(top, file)] = { ...attr }
    if ((attr.mode & S_IFMT) === 0o040000) for (const name of list(file)) visit(path.join(file, name))
  }
  visit(top)
  return all
}

export const layers: Traps = {
  '21 lowers are never written, their access times included': async (p) => {
    mkdir(p.lower('d', 'e'))
    for (const name of ['f', 'd/g', 'd/e/h']) write(p.lower(name), 'content')
    fs.symlinkSync('f', p.lower('link'))
    // Access times before the modification: relatime would renew them at the first read.
    for (const name of ['d/e/h', 'd/e', 'd/g', 'd', 'f', '']) fs.utimesSync(p.lower(name), 1, 1e9)
    const before = everything(p.lower())
    for (const name of ['d/e/h', 'd/e', 'd/g', 'd', 'f', '']) fs.utimesSync(p.lower(name), 1, 1e9)
    const times = Object.fromEntries(['', 'd', 'd/e', 'f', 'd/g', 'd/e/h'].map((n) => [n, statx(p.lower(n))]))
    await p.mount()
    for (const dir of ['', 'd', 'd/e']) list(p.mnt(dir))
    for (const name of ['f', 'd/g', 'd/e/h', 'link']) read(p.mnt(name))
    fs.readlinkSync(p.mnt('link'))
    fs.appendFileSync(p.mnt('f'), 'more')
    fs.chmodSync(p.mnt('d', 'e'), 0o700)
    fs.unlinkSync(p.mnt('d', 'g'))
    fs.rmSync(p.mnt('d'), { recursive: true })
    write(p.mnt('d'), 'a file now')
    await p.unmount()
    for (const [name, attr] of Object.entries(times)) deepEqual({ ...statx(p.lower(name)) }, { ...attr })
    equal(Object.keys(everything(p.lower())).length, Object.keys(before).length)
    equal(read(p.lower('f')), 'content')
  },

  '21 nor are access times of the upper with noatime': async (p) => {
    mkdir(p.upper('d'))
    const names = ['f', 'd/g']
    for (const name of names) {
      write(p.upper(name), 'content')
      fs.utimesSync(p.upper(name), 1, 1e9)
    }
    await p.mount({ kernelOptions: ['noatime'] })
    for (const name of names) equal(read(p.mnt(name)), 'content')
    write(p.mnt('made'), 'new')
    fs.utimesSync(p.mnt('made'), 1, 1e9)
    equal(read(p.mnt('made')), 'new')
    fs.renameSync(p.mnt('f'), p.mnt('d/f'))
    fs.linkSync(p.mnt('d/f'), p.mnt('f'))
    await p.unmount()
    for (const name of ['f', 'd/f', 'd/g', 'made']) equal(statx(p.upper(name)).atime, 1)
  },

  '24 no symlink of a layer is followed, and symlink or file ends the merge': async (p) => {
    const outside = mkdir(p.at('outside'))
    write(path.join(outside, 'secret'))
    for (const name of ['link', 'file']) {
      mkdir(p.lowest(name))
      write(p.lowest(name, 'below'))
    }
    fs.symlinkSync(outside, p.lower('link'))
    write(p.lower('file'))
    await p.mount()
    equal(statx(p.mnt('link')).mode & S_IFMT, S_IFLNK)
    equal(statx(p.mnt('file')).mode & S_IFMT, S_IFREG)
    equal(fs.readlinkSync(p.mnt('link')), outside)
    fs.unlinkSync(p.mnt('link'))
    fs.mkdirSync(p.mnt('link'))
    deepEqual(list(p.mnt('link')), [])
    write(p.mnt('link', 'new'))
    await p.remount()
    deepEqual(list(p.mnt('link')), ['new'])
    deepEqual(list(outside), ['secret'])
    await p.unmount()
    // A directory of the upper that somebody has turned into a symlink meanwhile leads nowhere.
    fs.rmSync(p.upper('link'), { recursive: true })
    fs.symlinkSync(outside, p.upper('link'))
    await p.mount()
    equal(statx(p.mnt('link')).mode & S_IFMT, S_IFLNK)
  },

  '25 a mountpoint within a lower works': async (p) => {
    const mountpoint = mkdir(p.lower('in', 'side'))
    write(p.lower('in', 'f'))
    await p.mount({ mountpoint })
    deepEqual(list(mountpoint), ['in'])
    deepEqual(list(path.join(mountpoint, 'in')), ['f', 'side'])
    deepEqual(list(path.join(mountpoint, 'in', 'side')), [])
    write(path.join(mountpoint, 'in', 'side', 'new'))
    deepEqual(list(path.join(mountpoint, 'in', 'side')), ['new'])
    equal(execFileSync('find', [mountpoint], { timeout: 20_000 }).toString().split('\n').length, 6)
    await p.unmount(mountpoint)
    deepEqual(list(mountpoint), [])
    equal(read(p.upper('in', 'side', 'new')), 'new')
  },

  '26 stacks that would eat themselves are refused, and an upper has one mount at a time': async (p) => {
    const refused = (options: Parameters<Place['refused']>[0]): Promise<string> => p.refused(options)
    equal(await refused({ upper: p.lower() }), 'UPPER_IN_LOWER')
    equal(await refused({ upper: mkdir(p.lower('inside')) }), 'UPPER_IN_LOWER')
    equal(await refused({ lower: [mkdir(p.upper('inside'))] }), 'UPPER_IN_LOWER')
    equal(await refused({ work: p.upper() }), 'WORK_IN_UPPER')
    equal(await refused({ work: mkdir(p.upper('work')) }), 'WORK_IN_UPPER')
    equal(await refused({ work: p.at('missing') }), 'NO_SUCH_DIRECTORY')
    if (p.as !== 'plain') {
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mkdir(p.at('other'))], { timeout: 30_000 })
      equal(await refused({ work: mkdir(p.at('other', 'work')) }), 'WORK_ON_OTHER_FILESYSTEM')
      execFileSync('umount', [p.at('other')], { timeout: 30_000 })
    }
    await p.mount()
    const mountpoint = mkdir(p.at('mnt2'))
    equal(await refused({ mountpoint, work: mkdir(p.at('work2')) }), 'UPPER_IN_USE')
    equal(await refused({ mountpoint, upper: mkdir(p.at('upper2')) }), 'UPPER_IN_USE')
    await p.unmount()
    await p.mount()
  },

  '32 what a crash leaves is cleaned, and a volatile upper is refused after one': async (p) => {
    write(p.lower('f'), 'lower')
    mkdir(p.at('work', 'work', '#17', 'deep'))
    write(p.at('work', 'work', '#18'))
    await p.mount()
    deepEqual(p.leftovers(), [])
    write(p.mnt('f'), 'written')
    await p.crash()
    fails(ENOTCONN, () => fs.statSync(p.mnt()))
    equal(await p.refused(), 'DEAD_MOUNT')
    free(p)
    await p.mount({ volatile: true })
    equal(read(p.mnt('f')), 'written')
    await p.remount({ volatile: true })
    await p.crash()
    free(p)
    equal(await p.refused(), 'VOLATILE_DIRTY')
    equal(await p.refused({ volatile: true }), 'VOLATILE_DIRTY')
    ok(exists(p.at('work', 'work', 'incompat', 'volatile')))
    fs.rmSync(p.at('work', 'work', 'incompat'), { recursive: true })
    await p.mount()
    equal(read(p.mnt('f')), 'written')
  },

  '33 an export links what may be linked, copies the rest and says why': async (p) => {
    mkdir(p.lower('d'))
    write(p.lower('d', 'f'))
    write(p.lower('shifted'))
    const layerfs = (...words: string[]): string =>
      execFileSync(process.execPath, [p.bin, 'export', '--json', ...words], { timeout: 30_000 }).toString()
    const plain = JSON.parse(layerfs('--lower', p.lower(), p.at('out'))) as Record<string, unknown>
    deepEqual([plain.linked, plain.copied, plain.cloned], [2, 0, 0])
    equal(statx(p.at('out', 'd', 'f')).ino, statx(p.lower('d', 'f')).ino)
    // An owner that the layer does not have on disk cannot be had by a link.
    const { uid } = fs.statSync(p.lower())
    const map = `${uid === 0 ? '0:0:1' : `${uid}:${uid}:1`}`
    const same = JSON.parse(layerfs('--lower', p.lower(), `--uidmap=${map}`, p.at('same'))) as Record<
      string,
      unknown
    >
    equal(same.linked, 2)
    if (p.as === 'plain') return
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mkdir(p.at('other'))], { timeout: 30_000 })
    const apart = JSON.parse(layerfs('--lower', p.lower(), p.at('other', 'out'))) as Record<string, unknown>
    deepEqual([apart.linked, apart.refusals], [0, { EXDEV: 2 }])
    equal(read(p.at('other', 'out', 'd', 'f')), 'f')
    if (p.root) {
      const shifted = JSON.parse(
        layerfs('--lower', p.lower(), '--uidmap=0:100000:10', p.at('shifted-out')),
      ) as Record<string, unknown>
      deepEqual([shifted.linked, shifted.refusals], [0, { owner: 2 }])
      equal(statx(p.at('shifted-out', 'shifted')).uid, 100_000)
    }
    execFileSync('umount', [p.at('other')], { timeout: 30_000 })
  },

  '34 statfs, locks and running programs are as on a disk, and descriptors stay few': async (p) => {
    const limit = Number(/^Max open files +(\d+)/m.exec(read('/proc/self/limits'))?.[1])
    const mostOpen = Math.min(16_384, limit / 2)
    const made = mostOpen + 1000
    for (let i = 0; i < made; i++) mkdir(p.lower(`d${i % 50}`, `e${i}`))
    fs.copyFileSync('/bin/true', p.lower('program'))
    fs.chmodSync(p.lower('program'), 0o755)
    await p.mount()
    const statfs = fs.statfsSync(p.mnt())
    equal(statfs.type, 0x65735546)
    equal(statfs.bsize, fs.statfsSync(p.upper()).bsize)
    ok(statfs.blocks > 0)
    let directories = 0
    const visit = (dir: string): void => {
      directories++
      for (const entry of fs.readdirSync(dir, { withFileTypes: true }))
        if (entry.isDirectory()) visit(path.join(dir, entry.name))
    }
    visit(p.mnt())
    equal(directories, made + 51)
    const descriptors = list(`/proc/${await p.pid()}/fd`).length
    ok(descriptors < mostOpen + 100, `${descriptors} descriptors`)
    write(p.mnt('locked'))
    withFd(p.mnt('locked'), 'r+', (a) =>
      withFd(p.mnt('locked'), 'r+', (b) => {
        flock(a, LOCK_EX | LOCK_NB)
        fails(11, () => flock(b, LOCK_EX | LOCK_NB))
        lockRange(a, F_WRLCK, 0, 10)
        fails(11, () => lockRange(b, F_WRLCK, 5, 10))
        lockRange(a, F_UNLCK, 0, 10)
        lockRange(b, F_WRLCK, 5, 10)
      }),
    )
    fs.copyFileSync('/bin/sleep', p.mnt('sleeper'))
    fs.chmodSync(p.mnt('sleeper'), 0o755)
    equal(spawnSync(p.mnt('program'), { timeout: 20_000 }).status, 0)
    const busy = spawnSync(
      'sh',
      ['-c', '"$0" 30 & sleep 0.2; echo x >> "$0"; echo $?; kill $!', p.mnt('sleeper')],
      {
        timeout: 20_000,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    equal(busy.stdout.toString().trim(), '2')
    ok(busy.stderr.toString().includes('busy'), `${ETXTBSY}: ${busy.stderr}`)
  },
}

/** Takes a dead mount away. */
function free(p: Place): void {
  const [program = '', ...words] = p.as === 'plain' ? ['fusermount3', '-u', '-z'] : ['umount', '-l']
  execFileSync(program, [...words, p.mnt()], { timeout: 30_000 })
}
