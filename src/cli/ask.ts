/** Questions to a running mount, which it answers as the values of xattrs that no list shows. */
import { AT_FDCWD, EACCES, ENODATA, ENOENT, ENOTCONN, ENOTDIR, EOPNOTSUPP, O_PATH } from '../abi/linux.js'
import { type ErrorCode, errnoText, LayerfsError } from '../errors.js'
import { close, open } from '../sys/file.js'
import { textOf } from '../sys/libc.js'
import { readXattr } from '../sys/xattr.js'

export const STATUS = 'layerfs.status'
export const STATS = 'layerfs.stats'
export const WHICH = 'layerfs.which'

const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [ENOTCONN, 'DEAD_MOUNT'],
  [ENODATA, 'NOT_A_MOUNT'],
  [EOPNOTSUPP, 'NOT_A_MOUNT'],
  [ENOENT, 'NOT_FOUND'],
  [ENOTDIR, 'NOT_FOUND'],
  [EACCES, 'ACCESS_DENIED'],
])

/** The answer as text, or -errno. @param path bytes; a symbolic link is not followed */
export function tryAsk(path: string, question: string): string | number {
  const at = path.lastIndexOf('/')
  const base = path.slice(at + 1)
  const isDir = base === '' || base === '.' || base === '..'
  const dir = isDir ? path : at < 0 ? '.' : path.slice(0, at + 1)
  const fd = open(AT_FDCWD, dir, O_PATH)
  if (fd < 0) return fd
  const value = readXattr(fd, isDir ? '.' : base, question)
  close(fd)
  return typeof value === 'number' ? value : value.toString('utf8')
}

/**
 * Asks about the file at a path, which is not followed where it is a symbolic link.
 * @param path bytes
 * @throws LayerfsError NOT_A_MOUNT where the path is on no layerfs mount, DEAD_MOUNT, NOT_FOUND, ACCESS_DENIED, IO
 */
export function ask(path: string, question: string): string {
  const answer = tryAsk(path, question)
  if (typeof answer === 'string') return answer
  const code = CODES.get(-answer) ?? 'IO'
  const shown = textOf(path)
  const messages: Partial<Record<ErrorCode, string>> = {
    DEAD_MOUNT: `the mount behind ${shown} is dead, its daemon is gone: free it with layerfs umount --stale`,
    NOT_A_MOUNT: `${shown} is not on a layerfs mount: layerfs list shows the mounts`,
  }
  throw new LayerfsError(code, messages[code] ?? `cannot look at ${shown}: ${errnoText(answer)}`, {
    errno: -answer,
    path: shown,
  })
}
