import { attr } from './attr.js'
import { files } from './files.js'
import { flags } from './flags.js'
import { io } from './io.js'
import { listing } from './listing.js'
import { rename } from './rename.js'
import { setid } from './setid.js'
import { tree } from './tree.js'
import { xattr } from './xattr.js'

/** Every case of the suite. */
export const CASES = [...files, ...tree, ...rename, ...attr, ...setid, ...xattr, ...listing, ...io, ...flags]
