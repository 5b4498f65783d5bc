/** `layerfs export --verify`: an exported directory against the stack it was made from. */

import { DT_DIR, DT_UNKNOWN, ENOENT, S_IFMT, S_IFREG } from '../abi/linux.js'
import type { LayerSpec } from '../options.js'
import { stat, statAt } from '../sys/stat.js'
import { readListing } from '../union/listing.js'
import type { Loc } from '../union/loc.js'
import type { Owners } from '../union/metadata.js'
import { statIn } from '../union/override.js'
import { Attr, type Name } from '../vfs.js'
import { factsOf, type Hash, hashOf, loadHash, xattrsOf } from './facts.js'
import { compareFacts, type Difference } from './manifest.js'
import { AS_SHOWN, openContent, openQuietly } from './place.js'
import { closeLayers, openLayers, type ReadOptions, type Source, sourceOf } from './source.js'
import { check, drive, type MergedDir, shown, walk, within } from './walk.js'

export interface VerifyOptions extends ReadOptions {
  signal?: AbortSignal
  /** The write permission was taken from the files of the new directory. */
  protect?: boolean
}

const wanted = new Attr()
const got = new Attr()

/**
 * Compares every file of `dir` with what `layers`, topmost first, show: type, mode, owner, size, times, target,
 * device, xattrs and, by xxHash, content. A file that is the layer's own inode has the layer's content.
 *
 * @param report called with each difference
 * @returns how many files and directories were compared
 * @throws LayerfsError as openLayers
 */
export async function verifyExport(
  specs: readonly LayerSpec[],
  dir: string,
  report: (difference: Difference) => void,
  options: VerifyOptions = {},
): Promise<number> {
  const hash = await loadHash()
  const layers = openLayers(specs, options)
  const exported = openLayers([{ path: dir }])
  try {
    const verifier = new Verifier(sourceOf(layers, options), hash, report, options.protect === true)
    return await drive(verifier.all((exported[0] as { root: Loc }).root), options.signal)
  } finally {
    closeLayers([...layers, ...exported])
  }
}

class Verifier {
  constructor(
    private readonly source: Source,
    private readonly hash: Hash,
    private readonly report: (difference: Difference) => void,
    private readonly protect: boolean,
  ) {}

  *all(root: Loc): Generator<void, number> {
    const outs: Loc[] = []
    let count = 0
    for (const { kind, dir } of walk(this.source)) {
      if (kind === 'leave') {
        const out = outs.pop() as Loc
        if (outs.length > 0) out.drop()
        continue
      }
      const out = outs.length === 0 ? root : (outs.at(-1) as Loc).child(dir.name)
      outs.push(out)
      count++
      this.directory(dir, out)
      for (const [at, type] of dir.listing.types.entries()) {
        if (type === DT_DIR || type === DT_UNKNOWN) continue
        this.file(dir, at, out)
        count++
        yield
      }
    }
    return count
  }

  private directory(dir: MergedDir, out: Loc): void {
    const top = dir.locs[0] as Loc
    const fd = check(top.fd(), 'open', dir.path)
    check(statIn(top.layer, fd, '.', wanted), 'look at', dir.path)
    const outFd = out.fd()
    const names = outFd < 0 ? outFd : readListing([out])
    if (typeof names === 'number') {
      this.report({ path: shown(dir.path), what: 'missing' })
      return
    }
    check(stat(outFd, got), 'look at the new', dir.path)
    this.compare(dir.path, top.layer, fd, '.', outFd)
    for (const name of names.names)
      if (dir.listing.find(name) < 0) this.report({ path: shown(within(dir, name)), what: 'extra' })
  }

  private file(dir: MergedDir, at: number, out: Loc): void {
    const name = dir.listing.names[at] as Name
    const loc = dir.listing.from[at] as Loc
    const path = within(dir, name)
    const fd = check(loc.fd(), 'open', dir.path)
    check(statIn(loc.layer, fd, name, wanted), 'look at', path)
    const outFd = out.fd()
    const r = outFd < 0 ? outFd : statAt(outFd, name, got)
    if (r === -ENOENT || outFd < 0) {
      this.report({ path: shown(path), what: 'missing' })
      return
    }
    check(r, 'look at the new', path)
    if (this.protect && (wanted.mode & S_IFMT) === S_IFREG) wanted.mode &= ~0o222
    const sameInode = wanted.dev === got.dev && wanted.ino === got.ino
    const same = this.compare(path, loc.layer, fd, name, outFd, sameInode)
    if (!same || sameInode) return
    const expected = hashOf(this.hash, openContent(this.source.stack, dir.locs, loc, name), path)
    const found = hashOf(this.hash, openQuietly(outFd, name), path)
    if (expected !== found) this.report({ path: shown(path), what: 'hash', expected, got: found })
  }

  /** Reports what differs. @returns whether both are regular files of one size, whose content may be compared */
  private compare(
    path: Name,
    owners: Owners,
    fd: number,
    name: Name,
    outFd: number,
    sameInode = false,
  ): boolean {
    const a = factsOf(wanted, owners, fd, name, path)
    const b = factsOf(got, AS_SHOWN, outFd, name, path)
    for (const difference of compareFacts(path, a, b)) this.report(difference)
    if (!sameInode) this.compareRest(path, owners, fd, name, outFd)
    return a.type === 'file' && b.type === 'file' && a.size === b.size
  }

  private compareRest(path: Name, owners: Owners, fd: number, name: Name, outFd: number): void {
    const time = (at: Attr): string => `${at.mtime}.${String(at.mtimeNs).padStart(9, '0')}`
    if (time(wanted) !== time(got))
      this.report({ path: shown(path), what: 'mtime', expected: time(wanted), got: time(got) })
    const expected = xattrsOf(owners, fd, name, path)
    const found = xattrsOf(AS_SHOWN, outFd, name, path)
    const differ = [
      ...expected.filter((x) => !found.includes(x)),
      ...found.filter((x) => !expected.includes(x)),
    ]
    for (const xattr of new Set(differ.map((x) => x.slice(0, x.indexOf('='))))) {
      const valueIn = (all: string[]): string =>
        all.find((x) => x.startsWith(`${xattr}=`))?.slice(xattr.length + 1) ?? 'none'
      this.report({ path: shown(path), what: xattr, expected: valueIn(expected), got: valueIn(found) })
    }
  }
}
