/**
 * How failure is told outside the hot path: one class, one code a kind, one exit code a code.
 *
 * On the hot path the engine answers negated errnos (`Result` of vfs.ts) and never throws.
 */
import { constants } from 'node:os'

/** Each kind of failure: the exit code of the command that met it, and what it says. Codes are stable: scripts may rely on them. */
export const KINDS = {
  INTERNAL: [1, 'a defect of layerfs'],
  USAGE: [2, 'the command line or an option is wrong'],
  NO_SUCH_DIRECTORY: [3, 'a directory of the stack, or the mountpoint, is not there'],
  NOT_A_DIRECTORY: [4, 'what should be a directory is none'],
  UPPER_IN_LOWER: [5, 'the upper is, holds or lies within a lower'],
  WORK_ON_OTHER_FILESYSTEM: [6, 'the workdir is not on the filesystem of the upper'],
  UPPER_IN_USE: [7, 'another mount holds this upper or workdir'],
  FUSE_MISSING: [8, 'there is no /dev/fuse'],
  FUSE_DENIED: [9, '/dev/fuse may not be opened, or mounting is not permitted'],
  FUSERMOUNT_MISSING: [10, 'fusermount3 is needed and not installed'],
  FUSERMOUNT_FAILED: [11, 'fusermount3 refused'],
  MOUNTPOINT_BUSY: [12, 'something is mounted on the mountpoint, or the mount is in use'],
  DEAD_MOUNT: [13, 'the daemon of the mount is gone: every access answers ENOTCONN'],
  BAD_MAP: [14, 'an id range is malformed, overflows or overlaps another'],
  NOT_A_MOUNT: [15, 'no mount of layerfs is there'],
  VOLATILE_DIRTY: [16, 'the upper was mounted volatile and not unmounted cleanly'],
  UNSUPPORTED: [17, 'this kernel, filesystem or transport cannot do what was asked'],
  LINK_REFUSED: [18, 'a hard link was refused and a copy not allowed'],
  DIFFERENT: [19, 'a comparison found differences'],
  INTERRUPTED: [20, 'a signal ended the work'],
  IO: [21, 'a system call failed for a reason of the machine: disk full, input/output error'],
  ACCESS_DENIED: [22, 'a file or directory may not be read or written'],
  WORK_IN_UPPER: [23, 'the workdir is the upper, or one lies within the other'],
  MOUNT_FAILED: [24, 'mount(2) failed'],
  DAEMON_FAILED: [25, 'the daemon ended before the mount was ready'],
  ALREADY_EXISTS: [26, 'what should be created is there already'],
  NOT_FOUND: [27, 'no such file, snapshot, template, object or tag'],
  CORRUPT: [28, 'stored content does not match its digest or format'],
} as const satisfies Record<string, readonly [exit: number, means: string]>

export type ErrorCode = keyof typeof KINDS

export interface ErrorDetail {
  /** The errno behind it, positive. */
  errno?: number
  /** The file or directory concerned. */
  path?: string
  cause?: unknown
}

/** A failure with its kind and one line that says what is wrong and what to do. */
export class LayerfsError extends Error {
  override readonly name = 'LayerfsError'
  readonly code: ErrorCode
  readonly errno?: number
  readonly path?: string

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.code = code
    if (detail.errno !== undefined) this.errno = detail.errno
    if (detail.path !== undefined) this.path = detail.path
  }
}

const TEXTS: Readonly<Record<string, string>> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  EIO: 'input/output error',
  EACCES: 'permission denied',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EXDEV: 'invalid cross-device link',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  EMFILE: 'too many open files',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EMLINK: 'too many links',
  ENAMETOOLONG: 'file name too long',
  ENOSYS: 'function not implemented',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many levels of symbolic links',
  ENODATA: 'no data available',
  EOVERFLOW: 'value too large for defined data type',
  EOPNOTSUPP: 'operation not supported',
  ENOTCONN: 'transport endpoint is not connected',
  ESTALE: 'stale file handle',
  ENOMEM: 'cannot allocate memory',
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno)
    .filter(([name]) => name !== 'EWOULDBLOCK' && name !== 'ENOTSUP')
    .map(([name, value]) => [value, name]),
)

/** The symbolic name of an errno, of either sign: `ENOENT`; `errno 999` where it has none. */
export function errnoName(errno: number): string {
  const value = Math.abs(errno)
  return NAMES.get(value) ?? (value === 116 ? 'ESTALE' : `errno ${value}`)
}

/** For messages: `no such file or directory (ENOENT)`. */
export function errnoText(errno: number): string {
  const name = errnoName(errno)
  const text = TEXTS[name]
  return text === undefined ? name : `${text} (${name})`
}

/** The errno of an exception of node:fs or of a LayerfsError; undefined where it carries none. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number')
    return Math.abs(error.errno)
  return undefined
}

/** The exit code for whatever was thrown. */
export function exitCodeOf(error: unknown): number {
  return error instanceof LayerfsError ? KINDS[error.code][0] : KINDS.INTERNAL[0]
}
