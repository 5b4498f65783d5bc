/** Copies for a Linux without FUSE: with owners, xattrs, hard links and special files. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { AT_FDCWD, EEXIST, S_IFCHR } from '../abi/linux.js'
import { commitUpper } from '../commit/commit.js'
import { exportTree } from '../export/export.js'
import { check } from '../export/walk.js'
import type { MountInput } from '../options.js'
import { bytesOf } from '../sys/libc.js'
import { mknodAt } from '../sys/name.js'
import { changesOf, patchBetween } from './changes.js'
import type { Copier } from './copied.js'
import { givesAway, stackOf } from './mounted.js'
import { likeDirectory, moveAll } from './move.js'
import { flocks } from './stale.js'

/** @throws LayerfsError USAGE, BAD_MAP */
export function exactCopier(input: MountInput): Copier {
  const { lowers, read } = stackOf({ ...input, mountpoint: '/' })
  // Who may not give files away has copies that are all his own.
  const owners = givesAway() ? {} : { squashUid: 0, squashGid: 0 }
  const diff: Copier['diff'] = (path) => changesOf(lowers, [{ path }], { ...read, ...owners })
  return {
    keeper: flocks,
    fill: async (dir) => {
      await exportTree(lowers, dir, { ...read, link: 'clone', into: true })
    },
    copy: async (from, dir) => {
      await exportTree([{ path: from }], dir, { link: 'clone', into: true })
    },
    moveAll,
    diff,
    patch: (path) => patchBetween(lowers, [{ path }], read),
    commit: async (path, dir) => {
      await commitUpper(path, dir, { lower: lowers })
      const deleted = (await diff(path)).filter(({ change }) => change === 'D').map((change) => change.path)
      const parents = [...new Set(deleted.flatMap(above))].sort()
      // A directory that is left as it was, but for what is missing in it, is not in the layer yet.
      for (const parent of parents) mkdirSync(join(dir, parent), { recursive: true })
      for (const each of deleted) {
        const place = bytesOf(join(dir, each))
        const r = mknodAt(AT_FDCWD, place, S_IFCHR, 0)
        if (r !== -EEXIST) check(r, 'make a whiteout at', place)
      }
      for (const parent of parents.reverse()) likeDirectory(join(path, parent), join(dir, parent))
    },
  }
}

/** The directories that a path lies in, without the slash at their end: the root is empty. */
const above = (path: string): string[] => path.split('/').map((_, i, parts) => parts.slice(0, i).join('/'))
