/** One random history: the same steps on a plain directory and on a stack, compared at every turn. */
import fs from 'node:fs'
import path from 'node:path'
import { S_IFLNK, S_IFMT } from '../../src/abi/linux.js'
import { errnoName } from '../../src/errors.js'
import { mountOverlay } from '../support/mounts.js'
import type { Space } from '../support/space.js'
import { differences, type Facts } from '../support/tree.js'
import type { Client } from '../union/client.js'
import { Stack } from '../union/stacks.js'
import { type Driver, EngineDriver, outcome, PathDriver } from './driver.js'
import { act, type Features, type Op, print, type Step, type Turn } from './ops.js'

/** Times from here on are of the run itself and differ between the two. */
const RECENT = 1.5e9

export class World {
  private readonly stack: Stack
  private readonly model: PathDriver
  private lowers: string[]
  private layers = 0
  private client: Client | undefined
  private overlay: string | undefined
  private readonly log: string[] = []
  /** Files of the plain directory whose counterparts have been lower files of several names. */
  private readonly linked = new Set<number>()

  /** @param space where the kernel's overlayfs is mounted */
  constructor(
    private readonly features: Features,
    private readonly space: Space,
  ) {
    this.log.push(
      `-- with ${features.index ? 'index' : 'no index'}, ${features.metacopy ? 'metacopy' : 'no metacopy'}`,
    )
    this.stack = new Stack(1)
    fs.mkdirSync(path.join(this.stack.dir, 'model'))
    fs.mkdirSync(path.join(this.stack.dir, 'mnt'))
    this.model = new PathDriver(path.join(this.stack.dir, 'model'))
    this.lowers = [this.stack.lower]
    this.open()
  }

  private get upper(): string {
    return path.join(this.stack.dir, this.layers === 0 ? 'upper' : `upper${this.layers}`)
  }
  private get work(): string {
    return path.join(this.stack.dir, this.layers === 0 ? 'work' : `work${this.layers}`)
  }
  private get mountpoint(): string {
    return path.join(this.stack.dir, 'mnt')
  }

  private get driver(): Driver {
    return this.overlay === undefined ? new EngineDriver(this.client as Client) : new PathDriver(this.overlay)
  }

  private open(): void {
    this.client = this.stack.open({
      lower: this.lowers,
      upper: this.upper,
      work: this.work,
      ...this.features,
    })
  }

  private close(): void {
    if (this.client !== undefined) this.stack.close(this.client)
    this.client = undefined
    this.unmountOverlay()
  }

  private unmountOverlay(): void {
    if (this.overlay !== undefined) this.space.run('umount', [this.mountpoint])
    this.overlay = undefined
  }

  private fail(what: string): never {
    throw new Error(`${what}\nafter:\n${this.log.join('\n')}`)
  }

  /** Compares what the stack shows with the plain directory. */
  check(): void {
    const expected = this.comparable(this.model.facts())
    let got: Map<string, Partial<Facts>>
    try {
      got = this.comparable(this.driver.facts())
    } catch (error) {
      this.fail(`cannot read the tree: ${error instanceof Error ? error.message : error}`)
    }
    const found = differences(expected, got)
    if (found.length > 0) this.fail(found.join('\n'))
  }

  run(steps: readonly Step[]): void {
    for (const step of steps) {
      this.log.push(print(step))
      if ('turn' in step) this.turn(step.turn)
      else this.op(step)
    }
    this.check()
    this.turn('remount')
    this.turn('overlay')
    this.turn('remount')
  }

  private turn(turn: Turn): void {
    this.check()
    const before = this.client === undefined ? undefined : this.inodes()
    switch (turn) {
      case 'forget':
        this.client?.forgetAll()
        break
      case 'remount':
        this.close()
        this.open()
        break
      case 'commit':
        // Names of an indexed file that have not moved up belong to the index, which is no layer.
        if (this.features.index && fs.readdirSync(path.join(this.work, 'index')).length > 0) break
        this.noteLinked()
        this.close()
        this.lowers = [this.upper, ...this.lowers]
        this.layers++
        fs.mkdirSync(this.upper)
        fs.mkdirSync(this.work)
        this.open()
        break
      case 'overlay':
        this.close()
        mountOverlay(
          { lower: this.lowers, upper: this.upper, work: this.work, mountpoint: this.mountpoint },
          [
            'redirect_dir=on',
            `index=${this.features.index ? 'on' : 'off'}`,
            `metacopy=${this.features.metacopy ? 'on' : 'off'}`,
          ],
          this.space,
        )
        this.overlay = this.space.path(this.mountpoint)
    }
    this.check()
    if (before !== undefined && this.client !== undefined && turn !== 'commit') this.sameInodes(before)
  }

  /** Inode numbers as the engine shows them. A lower file of several names notes no origin when it is copied up. */
  private inodes(): Map<string, number> {
    const numbers = new Map<string, number>()
    this.client?.walk((name, attr) => {
      const { ino } = fs.lstatSync(path.join(this.model.top, name))
      if (!this.linked.has(ino)) numbers.set(name, attr.ino)
    })
    return numbers
  }

  private noteLinked(name = ''): void {
    if (this.features.index) return
    const at = path.join(this.model.top, name)
    const { nlink, ino } = fs.lstatSync(at)
    if (!fs.lstatSync(at).isDirectory()) {
      if (nlink > 1) this.linked.add(ino)
    } else for (const below of fs.readdirSync(at)) this.noteLinked(path.join(name, below))
  }

  private sameInodes(before: ReadonlyMap<string, number>): void {
    for (const [name, ino] of this.inodes()) {
      const was = before.get(name)
      if (was !== undefined && was !== ino) this.fail(`${name || '/'}: number ${was} became ${ino}`)
    }
  }

  private op(op: Op): void {
    const attr = this.modelStat(op.paths[0])
    // Symlinks would be followed; a fifo waits for its other end.
    if (op.paths.some((name) => this.throughSymlink(name))) return
    const special = attr !== undefined && !attr.isFile() && !attr.isDirectory()
    if (special && ['write', 'rewrite', 'truncate', 'chmod', 'setxattr', 'removexattr'].includes(op.call))
      return
    // Without an index the kernel's overlayfs breaks the hard links of a lower at copy-up.
    if (this.overlay !== undefined && !this.features.index && op.paths.some((name) => this.hasLinks(name)))
      return
    const expected = outcome(() => act(this.model, op))
    const got = outcome(() => act(this.driver, op))
    if (expected !== got) this.fail(`expected ${nameOf(expected)}, got ${nameOf(got)}`)
  }

  private modelStat(name: string | undefined): fs.Stats | undefined {
    if (name === undefined) return undefined
    try {
      return fs.lstatSync(path.join(this.model.top, name))
    } catch {
      return undefined
    }
  }

  private hasLinks(name: string): boolean {
    const attr = this.modelStat(name)
    return attr !== undefined && attr.nlink > 1 && !attr.isDirectory()
  }

  private throughSymlink(name: string): boolean {
    const parts = name.split('/')
    return parts.some((_, i) => i > 0 && this.modelStat(parts.slice(0, i).join('/'))?.isSymbolicLink())
  }

  /** Without an index, names hidden in an earlier mount still count as links. */
  private comparable(facts: Map<string, Partial<Facts>>): Map<string, Partial<Facts>> {
    for (const one of facts.values()) {
      if (Number(one.mtime) > RECENT) one.mtime = 'of the run'
      if (!this.features.index) delete one.nlink
      if ((Number.parseInt(one.mode ?? '', 8) & S_IFMT) === S_IFLNK) delete one.mode
    }
    return facts
  }

  remove(): void {
    this.unmountOverlay()
    this.stack.remove()
  }
}

const nameOf = (errno: number): string => (errno === 0 ? 'success' : errnoName(errno))
