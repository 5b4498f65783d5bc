/** `layerfs umount`: ends a mount and waits for its daemon; frees mounts whose daemon is gone. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Argv } from 'yargs'
import { AT_FDCWD, EBUSY, EINVAL, ENOTCONN, EPERM, O_RDONLY } from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import { readStatus } from '../fuse/control.js'
import { busyText } from '../fuse/kernel.js'
import { detach } from '../fuse/mount.js'
import { close, open, syncfs } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { type MountInfo, mountAt } from '../sys/mount.js'
import { type Command, flagOf, optionalOf, print } from './command.js'
import { inquire } from './inquiry.js'
import { layerfsAt, layerfsMounts } from './mounted.js'

/** How long a daemon may write what is pending, in milliseconds, before we stop waiting for it. */
const PATIENCE = 60_000
/** How long one may go on serving after its mount is gone from here: another mount namespace may hold a copy. */
const HELD = 1000

/** Those whose daemon is gone. */
async function deadAmong(all: readonly MountInfo[]): Promise<MountInfo[]> {
  const answers = await inquire(all.map((m) => m.mountpoint))
  return all.filter((_, i) => answers[i] === -ENOTCONN)
}

async function end(m: MountInfo, lazy: boolean): Promise<void> {
  const daemon = lazy ? undefined : daemonOf(m)
  if (!lazy) flush(m.mountpoint)
  take(m, lazy)
  if (daemon !== undefined) await gone(daemon)
}

/** Has the kernel hand over what it has cached of written files: a mount that another namespace holds is not flushed by umount(2). */
function flush(path: string): void {
  const fd = open(AT_FDCWD, bytesOf(path), O_RDONLY)
  if (fd < 0) return
  syncfs(fd)
  close(fd)
}

/** @throws LayerfsError MOUNTPOINT_BUSY, NOT_A_MOUNT, ACCESS_DENIED, FUSERMOUNT_MISSING, FUSERMOUNT_FAILED, IO */
function take(m: MountInfo, lazy: boolean): void {
  const path = m.mountpoint
  let r = detach(path, 'mount(2)', lazy)
  if (r === -EPERM) r = detach(path, 'fusermount3', lazy)
  if (r >= 0) return
  if (r === -EBUSY) throw new LayerfsError('MOUNTPOINT_BUSY', busyText(path), { path, errno: EBUSY })
  if (r === -EINVAL && mountAt(path) !== undefined)
    throw new LayerfsError(
      'ACCESS_DENIED',
      `${path} was mounted by another user: unmount it as that one, or as root`,
      { path },
    )
  if (r === -EINVAL) throw new LayerfsError('NOT_A_MOUNT', `${path} is not mounted any more`, { path })
  throw new LayerfsError('IO', `cannot unmount ${path}: ${errnoText(r)}`, { errno: -r, path })
}

/** The process of a mount, where it is one that ends with the mount: a program's own mount lives in that program. */
function daemonOf(m: MountInfo): number | undefined {
  const answer = readStatus(m.mountpoint)
  if (typeof answer !== 'string') return undefined
  const { pid } = JSON.parse(answer) as { pid?: number }
  return pid !== undefined && isOurs(pid) ? pid : undefined
}

/** `serve` gives its process this title. */
function isOurs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('layerfs ')
  } catch {
    return false
  }
}

async function gone(pid: number): Promise<void> {
  const start = Date.now()
  let told = false
  for (let pause = 1; isOurs(pid); pause = Math.min(pause * 2, 50)) {
    const waited = Date.now() - start
    if (!told && waited > HELD) {
      told = true
      tell(pid)
    }
    if (waited > PATIENCE)
      throw new LayerfsError('IO', `it is unmounted, but its daemon (pid ${pid}) has not ended yet`)
    await sleep(pause)
  }
}

/** Has a daemon end although somebody still holds its mount: to them it is dead from then on. */
function tell(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It has ended meanwhile, or is somebody else's to end.
  }
}

/**
 * Frees the dead mounts, the last made first: it may lie on another. Then what fixtures of dead processes left.
 *
 * @returns how many there were
 */
async function freeDead(): Promise<number> {
  const dead = (await deadAmong(layerfsMounts())).reverse()
  for (const m of dead) {
    take(m, true)
    print(`freed ${m.mountpoint}`)
  }
  const { freeStale } = await import('../testing/stale.js')
  const left = freeStale()
  for (const path of left) print(`removed ${path}`)
  return dead.length + left.length
}

export const command: Command = {
  build: (yargs: Argv) =>
    yargs
      .usage(
        '$0 umount MOUNTPOINT\n$0 umount --stale\n\nReturns when all is written and the daemon has ended.',
      )
      .positional('mountpoint', { type: 'string', describe: 'where it is mounted' })
      .option('lazy', {
        type: 'boolean',
        describe: 'detach it now, even while in use; it ends with its last user',
      })
      .option('stale', {
        type: 'boolean',
        describe:
          'free mounts whose daemon is gone (ENOTCONN): this one, or all and what fixtures of dead processes left',
      }),
  async run(words) {
    const path = optionalOf(words, 'mountpoint')
    const stale = flagOf(words, 'stale')
    if (path === undefined) {
      if (!stale)
        throw new LayerfsError('USAGE', 'no mountpoint given: layerfs umount MOUNTPOINT, or --stale')
      if ((await freeDead()) === 0) print('no dead mounts')
      return 0
    }
    const m = layerfsAt(path)
    if (stale && (await deadAmong([m])).length === 0)
      throw new LayerfsError('MOUNTPOINT_BUSY', `${path} is alive: unmount it without --stale`, { path })
    await end(m, stale || flagOf(words, 'lazy'))
    return 0
  },
}
