/** `layerfs export --dry-run`: what an export would do, found out without changing anything. */

import { readFileSync } from 'node:fs'
import { DT_DIR, DT_UNKNOWN, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from '../abi/linux.js'
import { statFs } from '../sys/stat.js'
import { CAP_FOWNER, getegid, geteuid, hasCapability } from '../sys/thread.js'
import type { Layer } from '../union/layer.js'
import type { Loc } from '../union/loc.js'
import { isMetacopy } from '../union/metacopy.js'
import { statIn } from '../union/override.js'
import { Attr, type Name } from '../vfs.js'
import type { Counts, LinkMode, Refusal } from './place.js'
import { showsOtherwise, storesAsShown } from './place.js'
import type { Source } from './source.js'
import { check, type MergedDir, walk, within } from './walk.js'

/** Most links a file may have, by the filesystem's magic number (statfs(2)). Others set no limit worth foreseeing. */
const LINK_MAX: ReadonlyMap<number, number> = new Map([
  // ext2, ext3, ext4
  [0xef53, 65_000],
  // btrfs, which counts links within one directory
  [0x9123683e, 65_535],
  // f2fs
  [0xf2f52010, 32_000],
  // xfs
  [0x58465342, 2_147_483_647],
])

/** fs.protected_hardlinks of proc_sys_fs(5): users link only files that they own or may both read and write. */
function protectedHardlinks(): boolean {
  return readFileSync('/proc/sys/fs/protected_hardlinks', 'latin1').trim() !== '0'
}

const attr = new Attr()

/** Fills `counts` with what an export of this mode would count. */
export function* foresee(
  source: Source,
  mode: LinkMode,
  apart: ReadonlySet<Layer>,
  parentFd: number,
  counts: Counts,
): Generator<void, void> {
  const seer = new Seer(mode, apart, LINK_MAX.get(statFs(parentFd)) ?? Number.POSITIVE_INFINITY, counts)
  for (const { kind, dir } of walk(source)) {
    if (kind === 'leave') continue
    counts.directories++
    for (const [at, type] of dir.listing.types.entries()) {
      if (type === DT_DIR || type === DT_UNKNOWN) continue
      seer.look(dir, dir.listing.from[at] as Loc, dir.listing.names[at] as Name)
    }
    yield
  }
}

class Seer {
  private readonly euid = geteuid()
  private readonly groups = new Set([getegid(), ...(process.getgroups?.() ?? [])])
  private readonly restricted = protectedHardlinks() && !hasCapability(CAP_FOWNER)
  /** Names so far of files that come near the limit, and of those that will be copies. */
  private readonly names = new Map<string, number>()
  private readonly copies = new Set<string>()

  constructor(
    private readonly mode: LinkMode,
    private readonly apart: ReadonlySet<Layer>,
    private readonly linkMax: number,
    private readonly counts: Counts,
  ) {}

  look(dir: MergedDir, loc: Loc, name: Name): void {
    const path = within(dir, name)
    check(statIn(loc.layer, check(loc.fd(), 'open', dir.path), name, attr), 'look at', path)
    const { counts } = this
    if (this.mode === 'auto' || this.mode === 'only') {
      const refusal = this.refusal(loc, name, path)
      if (refusal === undefined) {
        counts.linked++
        return
      }
      counts.refusals[refusal] = (counts.refusals[refusal] ?? 0) + 1
      if (this.mode === 'only') return
    }
    const key = `${attr.dev}:${attr.ino}`
    if ((attr.mode & S_IFMT) !== S_IFREG || this.copies.has(key)) {
      counts.made++
      return
    }
    if (attr.nlink > 1) this.copies.add(key)
    counts.copied++
    counts.bytes += attr.size
  }

  private refusal(loc: Loc, name: Name, path: Name): Refusal | undefined {
    if (this.apart.has(loc.layer) || attr.dev !== loc.layer.dev) return 'EXDEV'
    if (!storesAsShown(loc.layer)) {
      const otherwise = showsOtherwise(loc, loc.fd(), name, path)
      if (otherwise !== undefined) return otherwise
    }
    const isFile = (attr.mode & S_IFMT) === S_IFREG
    if (isFile && loc.impure === true && isMetacopy(loc.fd(), name) === 1) return 'metacopy'
    if (this.restricted && !this.mayLink()) return 'EPERM'
    return this.tooMany() ? 'EMLINK' : undefined
  }

  /** As may_linkat of the kernel decides. An ACL that grants more than the mode is not looked at. */
  private mayLink(): boolean {
    if (attr.uid === this.euid) return true
    if ((attr.mode & S_IFMT) !== S_IFREG || (attr.mode & S_ISUID) !== 0) return false
    if ((attr.mode & (S_ISGID | 0o010)) === (S_ISGID | 0o010)) return false
    const shift = this.groups.has(attr.gid) ? 3 : 0
    return ((attr.mode >> shift) & 0o6) === 0o6
  }

  private tooMany(): boolean {
    // In the worst case each of its names is in the tree, which doubles them.
    if (attr.nlink * 2 <= this.linkMax) return false
    const key = `${attr.dev}:${attr.ino}`
    const names = (this.names.get(key) ?? 0) + 1
    this.names.set(key, names)
    return attr.nlink + names > this.linkMax
  }
}
