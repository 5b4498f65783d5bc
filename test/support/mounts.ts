/** Mounts of other union filesystems for tests, and how a test frees what is mounted. */
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'

export interface Stack {
  /** Topmost first. */
  lower: readonly string[]
  upper?: string
  work?: string
  mountpoint: string
}

const MOUNT_TIMEOUT_MS = 30_000

function run(file: string, args: readonly string[]): void {
  execFileSync(file, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: MOUNT_TIMEOUT_MS })
}

const options = ({ lower, upper, work }: Stack, extra: readonly string[]): string =>
  [
    `lowerdir=${lower.join(':')}`,
    ...(upper === undefined ? [] : [`upperdir=${upper}`]),
    ...(work === undefined ? [] : [`workdir=${work}`]),
    ...extra,
  ].join(',')

/**
 * Mounts the kernel's overlayfs.
 *
 * @param extra further mount options, as `userxattr` or `redirect_dir=on`. @param space a namespace to mount it in
 */
export function mountOverlay(
  stack: Stack,
  extra: readonly string[] = [],
  space: { run: typeof run } = { run },
): void {
  space.run('mount', ['-t', 'overlay', 'overlay', '-o', options(stack, extra), stack.mountpoint])
}

export function mountFuseOverlayfs(stack: Stack, extra: readonly string[] = []): void {
  run('fuse-overlayfs', ['-o', options(stack, extra), stack.mountpoint])
}

export function umount(mountpoint: string): void {
  run('umount', [mountpoint])
}

/** Mountpoints at or below `dir`, the latest first. */
export function mountsBelow(dir: string): string[] {
  const real = fs.realpathSync(dir)
  return fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((target) =>
      target.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((target) => target === real || target.startsWith(`${real}/`))
    .reverse()
}

/** Takes away every mount at or below `dir`, dead or busy ones too. For clean-up: a test that passes unmounts by itself. */
export function release(dir: string): void {
  for (const target of mountsBelow(dir)) {
    spawnSync('umount', ['-l', target], { stdio: 'ignore', timeout: MOUNT_TIMEOUT_MS })
  }
}

/** `release`, then removes the directory and all in it. */
export function discard(dir: string): void {
  if (!fs.existsSync(dir)) return
  release(dir)
  fs.rmSync(dir, { recursive: true, force: true })
}
