/** mount(8) itself, with lines of fstab(5), in a mount namespace where its helper is installed. */
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Ran, run } from '../support/command.js'
import { scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'

const HELPER = path.resolve(import.meta.dirname, '../../bin/mount.fuse.layerfs')

let dir: string
beforeEach(() => {
  dir = scratch('fstab')
  for (const name of ['a', 'b', 'upper', 'work', 'm', 'sbin']) fs.mkdirSync(path.join(dir, name))
  fs.writeFileSync(path.join(dir, 'a/top'), 'of a')
  fs.writeFileSync(path.join(dir, 'b/base'), 'of b')
  fs.symlinkSync(HELPER, path.join(dir, 'sbin/mount.fuse.layerfs'))
})
afterEach(() => discard(dir))

/** Runs shell text where /sbin has the helper, and fstab has a line for `m` with these options. */
function shell(options: string, script: string): Ran {
  fs.writeFileSync(path.join(dir, 'fstab'), `none ${dir}/m fuse.layerfs ${options} 0 0\n`)
  const namespace =
    'mount -t overlay -o "lowerdir=$PWD/sbin:$(readlink -f /sbin)" overlay "$(readlink -f /sbin)"; '
  return run('unshare', ['--mount', 'sh', '-euc', namespace + script], { cwd: dir })
}

const LAYERS = 'lowerdir=a:b,upperdir=upper,workdir=work'
const layers = (): string => LAYERS.replace(/=|:/g, (sign) => `${sign}${dir}/`)

test('a line with words for systemd and mount(8) is mounted once, written to, and unmounted', () => {
  const words = 'nofail,_netdev,x-systemd.requires-mounts-for=/srv,x-systemd.device-timeout=5s,X-note=any'
  const script = `
    mount -T fstab m
    findmnt -rno SOURCE,FSTYPE m
    cat m/top m/base
    echo new >m/new
    mount -a -T fstab
    grep -c " $PWD/m " /proc/self/mounts
    umount m
    cat upper/new`
  expect(shell(`${words},${layers()}`, script)).toEqual({
    code: 0,
    stdout: 'none fuse.layerfs\nof aof b1\nnew\n',
    stderr: '',
  })
})

test('noauto and x-systemd.automount: left alone by mount -a, mounted when named', () => {
  const script = `
    mount -a -T fstab
    ! mountpoint -q m
    mount -T fstab m
    touch m/new || echo read-only
    umount m`
  const ran = shell(`ro,noauto,x-systemd.automount,lowerdir=${dir}/a`, script)
  expect(ran).toMatchObject({ code: 0, stdout: 'read-only\n' })
})

test('mount -t fuse.layerfs with all of it on the command line', () => {
  const script = `
    mount -t fuse.layerfs -o "${layers()},nosuid" layers m
    findmnt -rno SOURCE,OPTIONS m | grep -o 'layers\\|nosuid'
    umount m`
  expect(shell('noauto', script)).toEqual({ code: 0, stdout: 'layers\nnosuid\n', stderr: '' })
})

test('a wrong line: one that mount(8) passes on, with its exit code', () => {
  const { code, stderr } = shell(`lowerdri=${dir}/a`, 'mount -T fstab m')
  expect(stderr).toContain('mount.fuse.layerfs: unknown option "lowerdri": did you mean lowerdir?')
  expect(code).toBe(1)
})
