/** The new directory: built under a name beside its place and renamed there, so that it exists whole or not at all. */

import { readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import {
  AT_FDCWD,
  EBUSY,
  EEXIST,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EOPNOTSUPP,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFMT,
} from '../abi/linux.js'
import { ACL_ACCESS, ACL_DEFAULT } from '../abi/overlay.js'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import { withDefaults } from '../options.js'
import { close, open } from '../sys/file.js'
import { bytesOf, textOf } from '../sys/libc.js'
import { listDir, mkdirAt, renameAt } from '../sys/name.js'
import { removeTree } from '../sys/remove.js'
import { statAt } from '../sys/stat.js'
import { removeXattr } from '../sys/xattr.js'
import { Layer } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { Attr, type Name, type Result } from '../vfs.js'
import { refuseWithin } from './source.js'

/** Identifies the mount that a descriptor was opened in: proc_pid_fdinfo(5). Links go no further than one mount. */
export const mountOf = (fd: number): string =>
  /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? ''

export interface TargetOptions {
  /** The target is an empty directory already, to be replaced by the new one. */
  into?: boolean
}

export class Target {
  private built: Layer | undefined

  private constructor(
    /** Where the new directory will stand, without symlinks above it. */
    readonly path: string,
    private readonly parentFd: number,
    private readonly name: Name,
    private readonly temporary: Name,
    private readonly into: boolean,
  ) {}

  /**
   * Looks at the place, and changes nothing.
   *
   * @param layers that the new directory may not lie in
   * @throws LayerfsError NO_SUCH_DIRECTORY, ALREADY_EXISTS, NOT_A_DIRECTORY, USAGE, ACCESS_DENIED
   */
  static at(out: string, layers: readonly Layer[], options: TargetOptions = {}): Target {
    const absolute = resolve(out)
    const parent = realParent(absolute)
    const path = `${parent === '/' ? '' : parent}/${basename(absolute)}`
    refuseWithin(layers, path)
    const parentFd = open(AT_FDCWD, bytesOf(parent), O_PATH | O_DIRECTORY)
    if (parentFd < 0) throw failed(parentFd, 'open', parent)
    const name = bytesOf(basename(absolute))
    try {
      const into = options.into === true
      checkPlace(parentFd, name, path, into)
      // The name may be as long as names get: what is added may not make it longer.
      const temporary = `.${name.slice(0, 200)}.layerfs-${process.pid.toString(36)}${Date.now().toString(36)}`
      return new Target(path, parentFd, name, temporary, into)
    } catch (error) {
      close(parentFd)
      throw error
    }
  }

  /** The directory that the new one will stand in, by an O_PATH descriptor. */
  get parent(): number {
    return this.parentFd
  }

  /** Makes the temporary directory. @returns its root */
  create(): Loc {
    const made = mkdirAt(this.parentFd, this.temporary, 0o700)
    if (made < 0) throw failed(made, 'make a directory in', dirname(this.path))
    const { mountpoint: _, ...options } = withDefaults({ lower: [this.path], mountpoint: '/' })
    const fd = open(this.parentFd, this.temporary, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    if (fd < 0) throw failed(fd, 'open', this.path)
    // By the descriptor, so that nothing put in its place meanwhile is taken for it.
    this.built = Layer.open({ path: `/proc/self/fd/${fd}` }, options, true)
    close(fd)
    const root = this.built.root
    for (const acl of [ACL_DEFAULT, ACL_ACCESS]) {
      const r = removeXattr(root.fd(), '.', acl)
      if (r < 0 && r !== -ENODATA && r !== -EOPNOTSUPP) throw failed(r, `remove ${acl} of`, this.path)
    }
    return root
  }

  /** Renames it to its place. @throws LayerfsError ALREADY_EXISTS where something has come to stand there */
  publish(): void {
    const flags = this.into ? 0 : RENAME_NOREPLACE
    const r = renameAt(this.parentFd, this.temporary, this.parentFd, this.name, flags)
    if (r === -EEXIST || r === -ENOTEMPTY) throw exists(this.path)
    if (r === -EBUSY)
      throw new LayerfsError(
        'MOUNTPOINT_BUSY',
        `something is mounted on ${this.path}: choose a new directory within it`,
        { errno: EBUSY, path: this.path },
      )
    if (r < 0) throw failed(r, 'rename the new tree to', this.path)
  }

  /** Removes what was built. */
  discard(): void {
    const r = removeTree(this.parentFd, this.temporary)
    if (r < 0) throw failed(r, 'remove', `${dirname(this.path)}/${textOf(this.temporary)}`)
  }

  close(): void {
    this.built?.root.closeRoot()
    close(this.parentFd)
  }
}

/** Builds a new directory by `fill`, which gets its root; on any failure nothing is left. */
export async function build<T>(target: Target, fill: (root: Loc) => Promise<T>): Promise<T> {
  try {
    const result = await fill(target.create())
    target.publish()
    return result
  } catch (error) {
    target.discard()
    throw error
  } finally {
    target.close()
  }
}

function realParent(absolute: string): string {
  const parent = dirname(absolute)
  try {
    return realpathSync.native(parent)
  } catch (error) {
    const errno = errnoOf(error) ?? ENOENT
    throw new LayerfsError(
      errno === ENOENT ? 'NO_SUCH_DIRECTORY' : 'ACCESS_DENIED',
      `cannot make ${absolute}: ${parent}: ${errnoText(errno)}`,
      { errno, path: parent },
    )
  }
}

const scratch = new Attr()

function checkPlace(parentFd: number, name: Name, path: string, into: boolean): void {
  const r = statAt(parentFd, name, scratch)
  if (r === -ENOENT && !into) return
  if (r === -ENOENT)
    throw new LayerfsError('NO_SUCH_DIRECTORY', `no such directory: ${path}; leave out --into to make it`, {
      errno: ENOENT,
      path,
    })
  if (r < 0) throw failed(r, 'look at', path)
  if (!into) throw exists(path)
  if ((scratch.mode & S_IFMT) !== S_IFDIR)
    throw new LayerfsError('NOT_A_DIRECTORY', `not a directory: ${path}`, { errno: ENOTDIR, path })
  const fd = open(parentFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  if (fd < 0) throw failed(fd, 'open', path)
  let empty = true
  listDir(fd, () => {
    empty = false
  })
  close(fd)
  if (!empty) throw exists(path)
}

const exists = (path: string): LayerfsError =>
  new LayerfsError(
    'ALREADY_EXISTS',
    `${path} exists: choose another name, or an empty directory with --into`,
    { errno: EEXIST, path },
  )

const failed = (r: Result, verb: string, path: string): LayerfsError =>
  new LayerfsError('IO', `cannot ${verb} ${path}: ${errnoText(r)}`, { errno: -r, path })
