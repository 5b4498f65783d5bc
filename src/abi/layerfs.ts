/** The virtual xattrs of a mount, which no list shows. */

/** Of the root: JSON about the session, and its counters. */
export const XATTR_STATUS = 'layerfs.status'
export const XATTR_STATS = 'layerfs.stats'
/** Set on the root of an ephemeral mount, these drop its changes, or take in what was put into its emptied upper. */
export const XATTR_RESET = 'layerfs.reset'
export const XATTR_RELOAD = 'layerfs.reload'
/** Of any file: JSON of the layers that have a say in what it shows. */
export const XATTR_WHICH = 'layerfs.which'
