/** Questions to a running mount, which it answers as the values of xattrs that no list shows. */
import { EACCES, ENODATA, ENOENT, ENOTCONN, ENOTDIR, EOPNOTSUPP } from '../abi/linux.js'
import { type ErrorCode, errnoText, LayerfsError } from '../errors.js'
import { textOf } from '../sys/libc.js'
import { readXattrOf } from '../sys/xattr.js'

const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [ENOTCONN, 'DEAD_MOUNT'],
  [ENODATA, 'NOT_A_MOUNT'],
  [EOPNOTSUPP, 'NOT_A_MOUNT'],
  [ENOENT, 'NOT_FOUND'],
  [ENOTDIR, 'NOT_FOUND'],
  [EACCES, 'ACCESS_DENIED'],
])

/**
 * Asks about the file at a path, which is not followed where it is a symbolic link.
 * @param path bytes
 * @throws LayerfsError NOT_A_MOUNT where the path is on no layerfs mount, DEAD_MOUNT, NOT_FOUND, ACCESS_DENIED, IO
 */
export function ask(path: string, question: string): string {
  const answer = readXattrOf(path, question)
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
