/** One layer as it lies on disk, whiteouts and other marks being files like any other. */

import { DT_DIR, DT_UNKNOWN, dtOfMode, EPERM, O_DIRECTORY, O_NOATIME, O_RDONLY } from '../abi/linux.js'
import { check, type MergedDir, type Step, within } from '../export/walk.js'
import { close, open } from '../sys/file.js'
import { listDir } from '../sys/name.js'
import { statAt } from '../sys/stat.js'
import { Listing } from '../union/listing.js'
import type { Loc } from '../union/loc.js'
import { readMarks } from '../union/whiteout.js'
import { Attr, type Name, type Result } from '../vfs.js'

const attr = new Attr()

function listRaw(loc: Loc, path: Name): Listing {
  const dirfd = check(loc.fd(), 'open', path)
  let fd: Result = open(dirfd, '.', O_RDONLY | O_DIRECTORY | O_NOATIME)
  if (fd === -EPERM) fd = open(dirfd, '.', O_RDONLY | O_DIRECTORY)
  check(fd, 'list', path)
  const listing = new Listing()
  const r = listDir(fd, (name, ino, dtype) => {
    let type = dtype
    if (type === DT_UNKNOWN && statAt(dirfd, name, attr) === 0) type = dtOfMode(attr.mode)
    listing.add(name, ino, type, loc)
  })
  close(fd)
  check(r, 'list', path)
  check(readMarks(loc), 'read the marks of', path)
  return listing
}

const NOTHING: ReadonlySet<Name> = new Set()

const enterRaw = (loc: Loc, path: Name, name: Name): MergedDir => ({
  path,
  name,
  locs: [loc],
  listing: listRaw(loc, path),
  hidden: NOTHING,
})

/** Walks a layer depth first, a directory being entered before and left after all that it holds. @throws LayerfsError */
export function* walkRaw(root: Loc): Generator<Step, void, undefined> {
  const top = enterRaw(root, '', '')
  const frames = [{ dir: top, at: 0 }]
  yield { kind: 'enter', dir: top }
  for (;;) {
    const frame = frames.at(-1)
    if (frame === undefined) return
    const { dir } = frame
    const loc = dir.locs[0] as Loc
    const { types, names } = dir.listing
    while (frame.at < types.length && types[frame.at] !== DT_DIR) frame.at++
    if (frame.at < types.length) {
      const name = names[frame.at++] as Name
      const child = enterRaw(loc.child(name), within(dir, name), name)
      frames.push({ dir: child, at: 0 })
      yield { kind: 'enter', dir: child }
      continue
    }
    yield { kind: 'leave', dir }
    frames.pop()
    if (frames.length > 0) loc.drop()
  }
}
