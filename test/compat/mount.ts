/** The same stack under each of the field's union filesystems. */
import fs from 'node:fs'
import path from 'node:path'
import { BIN, run } from '../support/command.js'
import { scratch } from '../support/identity.js'
import { discard, mountFuseOverlayfs, mountOverlay, umount } from '../support/mounts.js'
import type { Space } from '../support/space.js'

export interface System {
  name: 'layerfs' | 'overlay' | 'fuse-overlayfs'
  /** Mount options beyond the layers. */
  options?: readonly string[]
}

export const label = ({ name, options = [] }: System): string => [name, ...options].join(',')

/** Directories of a test: lowers, an upper, a workdir, a mountpoint. */
export class Bench {
  readonly dir = scratch('compat')
  readonly mnt: string
  /** Topmost first. */
  lower: string[]

  /** @param bin the command to mount with. @param space where the kernel's overlayfs is mounted, if not here */
  constructor(
    private readonly bin = BIN,
    private readonly space?: Space,
  ) {
    for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(this.at(name))
    this.mnt = this.at('mnt')
    this.lower = [this.at('lower')]
  }

  at(...names: string[]): string {
    return path.join(this.dir, ...names)
  }

  /** Mounts for the time of `use`. */
  under<T>({ name, options = [] }: System, use: (mnt: string) => T, writable = true): T {
    const upper = writable ? { upper: this.at('upper'), work: this.at('work') } : {}
    const stack = { lower: this.lower, ...upper, mountpoint: this.mnt }
    if (name === 'overlay') mountOverlay(stack, options, this.space)
    else if (name === 'fuse-overlayfs') mountFuseOverlayfs(stack, options)
    else {
      const layers = [
        `lowerdir=${this.lower.join(':')}`,
        ...(writable ? [`upperdir=${upper.upper},workdir=${upper.work}`] : []),
      ]
      succeed(run(process.execPath, [this.bin, 'mount', '-o', [...layers, ...options].join(','), this.mnt]))
    }
    try {
      return use(name === 'overlay' ? (this.space?.path(this.mnt) ?? this.mnt) : this.mnt)
    } finally {
      if (name === 'layerfs') succeed(run(process.execPath, [this.bin, 'umount', this.mnt]))
      else if (name === 'overlay' && this.space !== undefined) this.space.run('umount', [this.mnt])
      else umount(this.mnt)
    }
  }

  remove(): void {
    discard(this.dir)
  }
}

function succeed({ code, stderr }: { code: number | null; stderr: string }): void {
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`)
}
