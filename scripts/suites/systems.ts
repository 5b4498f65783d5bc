/** What suites run over: each system, mounted on layers of its own with the suite's directory where a layout says. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { discard, mountFuseOverlayfs, mountOverlay, release } from '../../test/support/mounts.js'

export const TOP = fileURLToPath(new URL('../..', import.meta.url))

/** `directory` is the control: no mount, a directory of the filesystem beneath. `layerfs-all` is passthrough=all. */
export const SYSTEMS = [
  'directory',
  'layerfs',
  'layerfs-all',
  'fuse-native',
  'overlay',
  'fuse-overlayfs',
  'unionfs',
] as const
export type System = (typeof SYSTEMS)[number]

/** What the systems that are layerfs are mounted with. */
export const LAYERFS: Partial<Record<System, string>> = {
  layerfs: 'transport=kernel',
  'layerfs-all': 'transport=kernel,passthrough=all',
  'fuse-native': 'transport=fuse-native',
}

/**
 * Where the directory that a suite works in lies, with files in it.
 *
 * - `upper`: in the upper; `lower`: in a lower, the upper empty; `merged`: in two lowers and the upper
 */
export const LAYOUTS = ['upper', 'lower', 'merged'] as const
export type Layout = (typeof LAYOUTS)[number]

/** Runs a program to its end or kills it. Output is cut at 256 MiB. */
export function run(
  argv: readonly string[],
  options: { cwd?: string; minutes: number; env?: NodeJS.ProcessEnv },
) {
  const [file = '', ...args] = argv
  const ran = spawnSync(file, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'latin1',
    maxBuffer: 256 << 20,
    timeout: options.minutes * 60_000,
    killSignal: 'SIGKILL',
  })
  const late = ran.error !== undefined ? `\n${ran.error.message}` : ''
  return { status: ran.status, output: `${ran.stdout ?? ''}${ran.stderr ?? ''}${late}` }
}

/** A system mounted on fresh layers. */
export class Place {
  readonly top = fs.mkdtempSync(path.join(process.env.SUITES_DIR ?? os.tmpdir(), 'layerfs-suites-'))
  readonly mountpoint = path.join(this.top, 'mnt')
  /** Topmost first. */
  readonly lower = ['lower1', 'lower2'].map((name) => path.join(this.top, name))
  private readonly upper = path.join(this.top, 'upper')
  private readonly work = path.join(this.top, 'work')

  constructor(
    readonly system: System,
    readonly layout: Layout,
  ) {
    // Suites act as users of all kinds.
    fs.chmodSync(this.top, 0o755)
    for (const dir of [this.mountpoint, ...this.lower, this.upper, this.work]) fs.mkdirSync(dir)
    for (const layer of this.holders()) fs.mkdirSync(path.join(layer, 'dir'))
    this.mount()
  }

  /** The directory that the suite works in. */
  get dir(): string {
    return path.join(this.system === 'directory' ? this.upper : this.mountpoint, 'dir')
  }

  /** The layers that hold the suite's directory. */
  private holders(): string[] {
    const held = { upper: [this.upper], lower: this.lower.slice(0, 1), merged: [...this.lower, this.upper] }
    return this.system === 'directory' ? [this.upper] : held[this.layout]
  }

  /** Has files made in the suite's directory as its lowest layer has it, while that is not mounted. */
  prepare(make: (dir: string) => void): void {
    this.unmount()
    const [first, second] = this.holders()
    make(path.join(second ?? first ?? this.upper, 'dir'))
    this.mount()
  }

  mount(as: System = this.system): void {
    const stack = { lower: this.lower, upper: this.upper, work: this.work, mountpoint: this.mountpoint }
    if (as === 'overlay') mountOverlay(stack)
    else if (as === 'fuse-overlayfs') mountFuseOverlayfs(stack, ['dev', 'suid'])
    else if (as === 'unionfs') {
      const branches = [`${this.upper}=RW`, ...this.lower.map((dir) => `${dir}=RO`)].join(':')
      const options = 'cow,allow_other,suid,dev,default_permissions'
      const ran = run(['unionfs', '-o', options, branches, this.mountpoint], { minutes: 1 })
      if (ran.status !== 0) throw new Error(`unionfs does not mount: ${ran.output.trim()}`)
    } else if (LAYERFS[as] !== undefined) {
      const ran = run(
        [
          process.execPath,
          path.join(TOP, 'bin/layerfs.js'),
          'mount',
          ...['-o', LAYERFS[as]],
          ...this.lower.flatMap((dir) => ['--lower', dir]),
          ...['--upper', this.upper, '--work', this.work, this.mountpoint],
        ],
        { minutes: 1 },
      )
      if (ran.status !== 0) throw new Error(`layerfs does not mount: ${ran.output.trim()}`)
    }
  }

  unmount(): void {
    if (this.system === 'directory') return
    const ran = run(['umount', this.mountpoint], { minutes: 1 })
    if (ran.status !== 0) throw new Error(ran.output.trim())
  }

  /** Mounts the layers anew, as the same system or another one that reads the same format. */
  remount(as: System = this.system): void {
    if (this.system === 'directory') return
    this.unmount()
    this.mount(as)
  }

  remove(): void {
    release(this.top)
    // A test that is cut off may leave a file that nobody can remove.
    run(['chattr', '-R', '-f', '-i', '-a', this.top], { minutes: 1 })
    discard(this.top)
  }
}
