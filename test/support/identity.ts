/** Running programs as root, as the plain user of the tests, or as root of a user namespace or a sandbox of theirs. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** The unprivileged user that scripts/setup makes. */
export const PLAIN_USER = 'layerfs-test'

export type Identity = 'root' | 'plain' | 'userns' | 'bwrap'

/** What a program of that identity may do: in bubblewrap's sandbox as much as in any user namespace. */
export const powers = (as: Identity): 'root' | 'plain' | 'userns' => (as === 'bwrap' ? 'userns' : as)

/** The passwd(5) entry of the plain user; throws where scripts/setup has not run. */
export function plainUser(): { uid: number; gid: number; home: string } {
  const line = fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${PLAIN_USER}:`))
  if (line === undefined) throw new Error(`there is no user ${PLAIN_USER}: run scripts/setup`)
  const [, , uid, gid, , home] = line.split(':')
  return { uid: Number(uid), gid: Number(gid), home: home ?? '/' }
}

/**
 * The argument vector that runs `argv` with an identity. Only root can become the others.
 *
 * In `userns` the program is root of a new user and mount namespace in which only the plain user's own ids exist.
 * `bwrap` is bubblewrap's sandbox: the same, with processes of its own, devices of which /dev/fuse is the only one that
 * it did not make, and a machine that is read-only but for the temporary directory.
 */
export function command(as: Identity, argv: readonly string[]): string[] {
  if (process.getuid?.() !== 0) throw new Error('the tests act as several users: run them as root')
  if (as === 'root') return [...argv]
  const { uid, gid } = plainUser()
  const plain = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--init-groups']
  if (as === 'plain') return [...plain, ...argv]
  if (as === 'bwrap') return [...plain, 'bwrap', ...SANDBOX, ...argv]
  return [...plain, 'unshare', '--user', '--map-root-user', '--mount', '--kill-child', ...argv]
}

const SANDBOX = [
  ...['--unshare-user', '--uid', '0', '--gid', '0', '--cap-add', 'ALL', '--unshare-pid', '--die-with-parent'],
  ...['--ro-bind', '/', '/', '--bind', os.tmpdir(), os.tmpdir(), '--proc', '/proc', '--tmpfs', '/dev'],
  ...['null', 'zero', 'random', 'urandom', 'fuse'].flatMap((name) => [
    '--dev-bind',
    `/dev/${name}`,
    `/dev/${name}`,
  ]),
]

/** The environment for a program of that identity: nothing of the caller's but PATH. */
export const environment = (as: Identity): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  LANG: 'C.UTF-8',
  TMPDIR: os.tmpdir(),
  HOME: as === 'root' ? (process.env.HOME ?? '/root') : plainUser().home,
})

/** A new directory under the temporary one that `as` owns and everybody may enter. The caller removes it. */
export function scratch(name: string, as: Identity = 'root'): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `layerfs-${name}-`))
  if (as !== 'root') {
    const { uid, gid } = plainUser()
    fs.chownSync(dir, uid, gid)
  }
  fs.chmodSync(dir, 0o755)
  return dir
}
