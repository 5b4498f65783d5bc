import { EINVAL } from '../abi/linux.js'
import { Attr, Entry, type Filesystem, Opened, SetAttr, StatFs } from '../vfs.js'
import type { Backings } from './backing.js'
import type { Control } from './control.js'
import { Dirents } from './dirents.js'
import type { Features } from './init.js'
import type { Preload } from './preload.js'
import type { ReadAround } from './readaround.js'
import type { Reply } from './reply.js'
import type { Request } from './request.js'
import type { Splice } from './splice.js'
import type { Counters } from './stats.js'
import { Walkers } from './walkers.js'

/** A request that is not answered: FORGET and its like. */
export const NO_REPLY = -0x10000

/** A body that is too short, a name without NUL, a count beyond the data that came. */
export const MALFORMED = -EINVAL

/** All that a handler works on; made once for a session. */
export class Context {
  readonly entry = new Entry()
  readonly attr = new Attr()
  readonly opened = new Opened()
  readonly set = new SetAttr()
  readonly stat = new StatFs()
  readonly dirents: Dirents
  readonly walkers = new Walkers()
  features: Features = {
    minor: 0,
    maxReadahead: 0,
    writeback: false,
    passthrough: false,
    setxattrExt: false,
    noOpen: false,
    noOpendir: false,
    names: [],
  }

  constructor(
    readonly fs: Filesystem,
    readonly req: Request,
    readonly reply: Reply,
    readonly backings: Backings,
    readonly preload: Preload,
    readonly splice: Splice,
    readonly around: ReadAround,
    readonly control: Control,
    readonly counters: Counters,
  ) {
    this.dirents = new Dirents(reply)
    reply.passing = backings.mappable
  }
}

/** Answers a request: the size of the reply's body, a negated errno, or NO_REPLY. */
export type Handler = (x: Context) => number
