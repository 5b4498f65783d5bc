/**
 * Names and values that the layer formats of the field define: kernel overlayfs (overlayfs.rst), fuse-overlayfs
 * and the OCI image layer specification.
 */

/** The xattr namespace an upper keeps its overlay marks in: `trusted` needs CAP_SYS_ADMIN, `user` is overlayfs's `userxattr`. */
export type OverlayNamespace = 'trusted' | 'user'

/** Prefix of every overlayfs-internal xattr in a namespace, with its final dot. */
export const overlayPrefix = (ns: OverlayNamespace): string => `${ns}.overlay.`

export const OPAQUE = 'opaque'
/** `y`: opaque directory. `x`: the directory holds xattr whiteouts (since Linux 6.7). */
export const OPAQUE_YES = 'y'
export const OPAQUE_XWHITEOUTS = 'x'
export const WHITEOUT = 'whiteout'
export const REDIRECT = 'redirect'
export const METACOPY = 'metacopy'
export const ORIGIN = 'origin'
export const IMPURE = 'impure'
export const NLINK = 'nlink'
export const UPPER = 'upper'
/** Kernel escape of a stacked overlay's own xattrs: `trusted.overlay.overlay.opaque` is shown as `trusted.overlay.opaque`. */
export const ESCAPE = 'overlay.'

/** Opaque mark that fuse-overlayfs 1.x writes where it may not write `trusted.`. */
export const FUSE_OVERLAYFS_OPAQUE = 'user.fuseoverlayfs.opaque'
/** Prefix of all of fuse-overlayfs's own xattrs. */
export const FUSE_OVERLAYFS_PREFIX = 'user.fuseoverlayfs.'

/** OCI/AUFS: a whiteout for NAME is a regular file `.wh.NAME`. */
export const OCI_WHITEOUT_PREFIX = '.wh.'
/** OCI/AUFS: a directory that holds this file is opaque. */
export const OCI_OPAQUE = '.wh..wh..opq'

/** Where an unprivileged owner keeps a file's shown owner, mode and type: containers/storage and fuse-overlayfs. */
export const OVERRIDE_CONTAINERS = 'user.containers.override_stat'
export const OVERRIDE_USER = 'user.fuseoverlayfs.override_stat'
export const OVERRIDE_SECURITY = 'security.fuseoverlayfs.override_stat'

export const ACL_ACCESS = 'system.posix_acl_access'
export const ACL_DEFAULT = 'system.posix_acl_default'
export const CAPABILITY = 'security.capability'
