/** Which lower file a file of the upper was copied from, noted in `overlay.origin` so that its number stays (overlayfs.rst). */

import { ENODATA, EOPNOTSUPP } from '../abi/linux.js'
import { ORIGIN } from '../abi/overlay.js'
import { readXattr, setXattr } from '../sys/xattr.js'
import type { Attr, Name, Result } from '../vfs.js'
import type { Core } from './core.js'
import { decodeOrigin, originOf } from './ino.js'
import type { Loc } from './loc.js'
import type { Dir } from './node.js'
import { readRedirect } from './redirect.js'
import { Found, resolve } from './resolve.js'
import { readXattrMarks } from './whiteout.js'

const found = new Found()

/** The shown number of a file found in `container`: that of its origin where the upper notes one. */
export function numberOf(core: Core, container: Loc, name: Name, attr: Attr): number {
  const origin = originNumber(core, container, name)
  return origin ?? core.numbers.shown(attr.dev, attr.ino)
}

/** The shown number of a directory that `resolve` found: that of its topmost lower part where the upper merges with one. */
export function directoryNumber(core: Core, f: Found, name: Name): number {
  if (f.originDev >= 0) return core.numbers.shown(f.originDev, f.originIno)
  return numberOf(core, f.container as Loc, name, f.attr)
}

/** The number of a directory of the upper whose lower part stands under another name; undefined where it has none such. */
export function redirectedNumber(core: Core, parent: Dir, container: Loc, name: Name): number | undefined {
  if (!container.layer.writable || !isImpure(container)) return undefined
  if (typeof readRedirect(container, name) !== 'string') return undefined
  return resolve(core.stack, parent.locs, name, found) < 0 ? undefined : directoryNumber(core, found, name)
}

/** The number of the lower file that a file of the upper was copied from; undefined where none is noted. */
export function originNumber(core: Core, container: Loc, name: Name): number | undefined {
  if (!container.layer.writable || !isImpure(container)) return undefined
  const value = readXattr(container.fd(), name, core.mark(ORIGIN))
  if (typeof value === 'number') return undefined
  const origin = decodeOrigin(value)
  if (origin === undefined) return undefined
  const layer = core.layerByUuid(origin.uuid)
  return layer === undefined ? undefined : core.numbers.shown(layer.dev, origin.ino)
}

function isImpure(loc: Loc): boolean {
  if (loc.impure === undefined) readXattrMarks(loc)
  return loc.impure === true
}

/** Errors of the origin mark that leave the file whole: it then shows another number after a remount. */
const NO_ORIGIN: ReadonlySet<Result> = new Set([-EOPNOTSUPP, -ENODATA])

/**
 * Notes in the copy which lower file it came from, so that its number stays the same at the next mount.
 *
 * @param toFd and toName of the copy, as in sys/xattr
 */
export function setOrigin(core: Core, toFd: number, toName: Name, loc: Loc, name: Name): Result {
  if (core.workdir?.namespace === undefined) return 0
  const origin = originOf(loc, name)
  if (typeof origin === 'number') return NO_ORIGIN.has(origin) ? 0 : origin
  return setXattr(toFd, toName, core.mark(ORIGIN), origin)
}
