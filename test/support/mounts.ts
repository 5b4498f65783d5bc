/** The mounts below a directory, and how a test frees them. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'

/** Mountpoints at or below `dir`, the latest first. */
export function mountsBelow(dir: string): string[] {
  const real = fs.realpathSync(dir)
  return fs
    .readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, o) =>
        String.fromCharCode(Number.parseInt(o, 8)),
      ),
    )
    .filter((target) => target === real || target.startsWith(`${real}/`))
    .reverse()
}

/** Takes away every mount at or below `dir`, dead or busy ones too. For clean-up: a test that passes unmounts by itself. */
export function release(dir: string): void {
  for (const target of mountsBelow(dir)) spawnSync('umount', ['-l', Buffer.from(target, 'latin1').toString()])
}
