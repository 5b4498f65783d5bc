/**
 * The kernel's own overlayfs over one lower, seen by nobody: who reads a file through it reads the lower's, and goes over to
 * the copy once overlayfs has made one (overlayfs.rst, "Non-standard behavior"). Mappings made before do not.
 */

import { AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY } from '../abi/linux.js'
import { errnoText, LayerfsError } from '../errors.js'
import { close, open, openBeneath } from '../sys/file.js'
import { bytesOf } from '../sys/libc.js'
import { linkAt, mkdirAt, rmdirAt, unlinkAt } from '../sys/name.js'
import { removeTree } from '../sys/remove.js'
import { stat } from '../sys/stat.js'
import { mountDetached } from '../sys/tree.js'
import { Attr, type Helpers, type JobId, type Name, PARKED, type Result } from '../vfs.js'
import { runJob } from './job.js'
import type { Layer } from './layer.js'
import { LENT, type Workdir } from './workdir.js'

/** overlayfs copies whole files, each by itself, and leaves it to us to see them to the disk. */
const SETTINGS = {
  index: 'off',
  metacopy: 'off',
  redirect_dir: 'nofollow',
  xino: 'off',
  volatile: true,
} as const

export class Shadow {
  /** Files that are lent, by path in the lower, and those it has copied: it shows the copies from then on, whatever becomes of them. */
  private readonly taken = new Set<Name>()

  private constructor(
    private readonly workdir: Workdir,
    private readonly name: Name,
    private readonly root: number,
    /** Its upper, where its copies appear. */
    private readonly upper: number,
  ) {}

  /** @throws LayerfsError UNSUPPORTED where overlayfs refuses the lower, or the workdir's filesystem for an upper */
  static over(lower: Layer, workdir: Workdir): Shadow {
    const { outerFd } = workdir
    const name = `${LENT}/${workdir.temporary()}`
    mkdirAt(outerFd, LENT, 0o700)
    const made = [name, `${name}/upper`, `${name}/work`].map((dir) => mkdirAt(outerFd, dir, 0o700))
    const upper = open(outerFd, `${name}/upper`, O_PATH | O_DIRECTORY)
    // By path, since layers and workdir may have been opened in clones of their mounts: overlayfs takes the caller's own alone.
    const fds = [bytesOf(lower.path), `${workdir.path}/${name}/upper`, `${workdir.path}/${name}/work`].map(
      (path) => open(AT_FDCWD, path, O_PATH | O_DIRECTORY),
    )
    const [lowerdir, upperdir, work] = fds.map((fd) => `/proc/self/fd/${fd}`) as [string, string, string]
    const failed = [...made, upper, ...fds].find((r) => r < 0)
    const root = failed ?? mountDetached('overlay', { lowerdir, upperdir, workdir: work, ...SETTINGS })
    for (const fd of fds) if (fd >= 0) close(fd)
    if (root >= 0) return new Shadow(workdir, name, root, upper)
    if (upper >= 0) close(upper)
    discard(workdir, name)
    throw new LayerfsError(
      'UNSUPPORTED',
      `the kernel's overlayfs does not take ${lower.path} with a copy beside the upper: ${errnoText(root)}; leave out passthrough=all`,
      { errno: -root, path: lower.path },
    )
  }

  /**
   * Lends a file of the lower, to one node at a time: a reset shows the lower's anew while somebody has the removed one open.
   *
   * @param attr of the file, on disk
   * @returns undefined where it cannot, or shows another file
   */
  lend(path: Name, attr: Attr): Lent | undefined {
    if (this.taken.has(path)) return undefined
    const fd = openBeneath(this.root, path, O_RDONLY)
    if (fd < 0) return undefined
    if (stat(fd, seen) >= 0 && seen.ino === attr.ino && seen.size === attr.size) {
      this.taken.add(path)
      return new Lent(this, path, fd)
    }
    close(fd)
    return undefined
  }

  /** A file that was lent has not been copied: it may be lent again. */
  takeBack(path: Name): void {
    this.taken.delete(path)
  }

  /** Links a copy to where it is wanted. */
  link(path: Name, dirfd: number, name: Name): Result {
    return linkAt(this.upper, path, dirfd, name)
  }

  /** Takes away the name that a copy had here. */
  unlink(path: Name): void {
    unlinkAt(this.upper, path)
  }

  close(): void {
    close(this.root)
    close(this.upper)
    discard(this.workdir, this.name)
  }
}

/** The last one takes the directory of all along. */
function discard({ outerFd }: Workdir, name: Name): void {
  removeTree(outerFd, name)
  rmdirAt(outerFd, LENT)
}

const seen = new Attr()

/** A file that the kernel reads through a shadow, while somebody has it open or it is being copied. */
export class Lent {
  private copying: JobId | undefined
  private copied = false

  constructor(
    private readonly shadow: Shadow,
    private readonly path: Name,
    /** Of the file in the shadow, for reading. */
    readonly fd: number,
  ) {}

  /**
   * Has overlayfs copy the file up, so that whoever reads it goes over to the copy, which gets the name `name` in `dirfd`.
   *
   * @returns PARKED while a helper thread does it
   */
  copyTo(helpers: Helpers | undefined, dirfd: number, name: Name): Result {
    let r: Result = 0
    if (this.copying !== undefined && helpers !== undefined) r = helpers.take(this.copying)
    else if (!this.copied) {
      const job = { kind: 'raise', fd: this.fd } as const
      this.copying = helpers?.start(job)
      if (this.copying !== undefined && this.copying >= 0) return PARKED
      r = runJob(job)
    }
    if (r === PARKED) return r
    this.copying = undefined
    if (r < 0) return r
    this.copied = true
    return this.shadow.link(this.path, dirfd, name)
  }

  /** Whether a helper thread is copying it. */
  get busy(): boolean {
    return this.copying !== undefined
  }

  /** The copy has its place: it needs no name here any more. */
  settle(): void {
    if (this.copied) this.shadow.unlink(this.path)
  }

  end(): void {
    this.settle()
    if (!this.copied) this.shadow.takeBack(this.path)
    close(this.fd)
  }
}
