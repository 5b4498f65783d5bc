/** What the traps are made of: each has layers of its own, mounts them as often as it likes, and looks at what is on disk. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { errnoName } from '../../src/errors.js'
import type { MountInput } from '../../src/options.js'
import type { Identity } from '../support/identity.js'
import { getxattr } from '../support/sys.js'

/** Options of a mount, its layers and mountpoint aside. */
export type Options = Partial<MountInput>

/** A process that mounts, another one than that which looks: neither can wait for the other when one is killed. */
export interface Server {
  readonly pid: number
  mount(options: MountInput): Promise<void>
  unmount(mountpoint: string): Promise<void>
  /** Ends it as a crash does. */
  kill(): Promise<void>
}

export class Place {
  constructor(
    readonly dir: string,
    readonly as: Identity,
    /** bin/layerfs.js */
    readonly bin: string,
    private readonly server: () => Promise<Server>,
  ) {
    for (const name of ['upper', 'work', 'lower', 'lowest', 'mnt']) fs.mkdirSync(this.at(name))
  }

  at(...names: string[]): string {
    return path.join(this.dir, ...names)
  }
  upper = (...names: string[]): string => this.at('upper', ...names)
  lower = (...names: string[]): string => this.at('lower', ...names)
  lowest = (...names: string[]): string => this.at('lowest', ...names)
  mnt = (...names: string[]): string => this.at('mnt', ...names)

  get root(): boolean {
    return this.as === 'root'
  }
  /** The namespace that overlay's xattrs are written in. */
  get namespace(): string {
    return this.root ? 'trusted' : 'user'
  }

  async mount(options: Options = {}): Promise<void> {
    const server = await this.server()
    await server.mount({
      lower: [this.lower(), this.lowest()],
      upper: this.upper(),
      work: this.at('work'),
      mountpoint: this.mnt(),
      ...options,
    })
  }

  async unmount(mountpoint = this.mnt()): Promise<void> {
    await (await this.server()).unmount(mountpoint)
  }

  async remount(options: Options = {}): Promise<void> {
    await this.unmount()
    await this.mount(options)
  }

  /** The code of the LayerfsError that mounting fails with. */
  async refused(options: Options = {}): Promise<string> {
    try {
      await this.mount(options)
    } catch (error) {
      const { code, message } = error as Error & { code?: string }
      return code === undefined || code === 'INTERNAL' ? message : code
    }
    await this.unmount()
    return 'none'
  }

  async pid(): Promise<number> {
    return (await this.server()).pid
  }

  async crash(): Promise<void> {
    await (await this.server()).kill()
  }

  /** What the engine tells of itself. */
  engine(key: string): number {
    const status = JSON.parse(getxattr(this.mnt(), 'layerfs.status').toString()) as {
      engine: Record<string, number>
    }
    return status.engine[key] ?? Number.NaN
  }

  /** What the workdir holds: nothing, between changes. */
  leftovers(): string[] {
    return fs.readdirSync(this.at('work', 'work'))
  }
}

export interface Trap {
  /** Who meets it; all three unless said. */
  as?: readonly Identity[]
  run(place: Place): void | Promise<void>
}

/** Keys are `NUMBER what holds`, as in docs/semantics.md. */
export type Traps = Record<string, Trap | Trap['run']>

export const equal: (got: unknown, expected: unknown) => void = assert.equal
export const deepEqual: (got: unknown, expected: unknown) => void = assert.deepEqual
export const ok: (holds: boolean, message?: string) => void = assert.ok

/** Asserts that `action` fails with one of these errnos. */
export function fails(errnos: number | readonly number[], action: () => unknown): void {
  const expected = typeof errnos === 'number' ? [errnos] : errnos
  const got = errnoOf(action)
  assert.ok(expected.includes(got), `expected ${expected.map(nameOf).join(' or ')}, got ${nameOf(got)}`)
}

const nameOf = (errno: number): string => (errno === 0 ? 'success' : errnoName(errno))

export function errnoOf(action: () => unknown): number {
  try {
    action()
    return 0
  } catch (error) {
    if (error instanceof Error && 'errno' in error && typeof error.errno === 'number')
      return Math.abs(error.errno)
    throw error
  }
}

export const write = (file: string, data: string | Buffer = path.basename(file)): void =>
  fs.writeFileSync(file, data)
export const read = (file: string): string => fs.readFileSync(file, 'latin1')
export const mkdir = (dir: string): string => {
  fs.mkdirSync(dir, { recursive: true })
  return dir
}
export const list = (dir: string): string[] => fs.readdirSync(dir).sort()
export const stat = (file: string): fs.BigIntStats => fs.lstatSync(file, { bigint: true })
export const perms = (file: string): number => fs.lstatSync(file).mode & 0o7777
export const exists = (file: string): boolean => fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined

/** An xattr's value; undefined where the file has none by that name. */
export function xattr(file: string, name: string): string | undefined {
  try {
    return getxattr(file, name).toString('latin1')
  } catch {
    return undefined
  }
}

/** Whether a name in a layer is a whiteout, a device 0/0. */
export const isWhiteout = (file: string): boolean => {
  const st = fs.lstatSync(file, { throwIfNoEntry: false })
  return st?.isCharacterDevice() === true && st.rdev === 0
}

export function withFd<T>(file: string, flags: number | string, use: (fd: number) => T, mode = 0o644): T {
  const fd = fs.openSync(file, flags, mode)
  try {
    return use(fd)
  } finally {
    fs.closeSync(fd)
  }
}
