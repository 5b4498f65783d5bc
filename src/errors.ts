/**
 * How failure is told outside the hot path: one class, one code a kind, one exit code a code.
 *
 * On the hot path the engine answers negated errnos (`Result` of vfs.ts) and never throws.
 */
import { constants } from 'node:os'

/** Each kind of failure with the exit code of the command that met it. Codes are stable: scripts may rely on them. */
export const EXIT_CODES = {
  /** A defect of layerfs. */
  INTERNAL: 1,
  /** The command line or an option is wrong. */
  USAGE: 2,
  NO_SUCH_DIRECTORY: 3,
  NOT_A_DIRECTORY: 4,
  /** The upper is, holds or lies within a lower. */
  UPPER_IN_LOWER: 5,
  /** The workdir is not on the upper's filesystem. */
  WORK_ON_OTHER_FILESYSTEM: 6,
  /** Another mount holds this upper or workdir. */
  UPPER_IN_USE: 7,
  /** There is no /dev/fuse. */
  FUSE_MISSING: 8,
  /** /dev/fuse may not be opened, or mounting is not permitted. */
  FUSE_DENIED: 9,
  FUSERMOUNT_MISSING: 10,
  FUSERMOUNT_FAILED: 11,
  /** Something is mounted on the mountpoint, or a process uses the mount. */
  MOUNTPOINT_BUSY: 12,
  /** The mount's daemon is gone: every access answers ENOTCONN. */
  DEAD_MOUNT: 13,
  /** An id range is malformed, overflows or overlaps another. */
  BAD_MAP: 14,
  NOT_A_MOUNT: 15,
  /** The upper was mounted volatile and never unmounted cleanly. */
  VOLATILE_DIRTY: 16,
  /** This kernel, filesystem or transport cannot do what was asked. */
  UNSUPPORTED: 17,
  /** A hard link was refused and a copy not allowed. */
  LINK_REFUSED: 18,
  /** A comparison found differences. */
  DIFFERENT: 19,
  /** A signal ended the work. */
  INTERRUPTED: 20,
  /** A system call failed for a reason of the machine: disk full, I/O error. */
  IO: 21,
  /** A file or directory may not be read or written. */
  ACCESS_DENIED: 22,
  /** The workdir is the upper, or one lies within the other. */
  WORK_IN_UPPER: 23,
  /** mount(2) failed. */
  MOUNT_FAILED: 24,
  /** The daemon ended before the mount was ready. */
  DAEMON_FAILED: 25,
  /** The thing to create stands there already. */
  ALREADY_EXISTS: 26,
  /** No such snapshot, template, object or tag. */
  NOT_FOUND: 27,
  /** Stored content does not match its digest or format. */
  CORRUPT: 28,
} as const

export type ErrorCode = keyof typeof EXIT_CODES

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
  return error instanceof LayerfsError ? EXIT_CODES[error.code] : EXIT_CODES.INTERNAL
}
