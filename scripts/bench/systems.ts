/** What is compared: each mounts a stack of layers at a mountpoint. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, shell } from './run.js'

/** One mount to be made. `upper` and `work` are empty. */
export interface Place {
  lowers: readonly string[]
  plain: string
  upper: string
  work: string
  mnt: string
  /** Whether the workload changes files: a plain directory is then a copy. */
  writes: boolean
  /** Whether to mount the lowers alone. */
  withoutUpper?: boolean | undefined
}

export interface System {
  name: string
  /** Mounted, and used, by the plain user. */
  asUser: boolean
  /** What it takes on this machine. */
  needs: string
  /** Whether files of lowers can be changed and removed. */
  copiesUp: boolean
  command(p: Place): string[]
  /** Mounted by a `layerfs host`, which serves other rounds too. */
  hosted?: true
  /** Reaches its end with `umount`, else by removing the directory. */
  mounts: boolean
}

const ROOT = join(import.meta.dirname, '..', '..')

function layerfs(name: string, asUser: boolean, checkout: string, extra: readonly string[] = []): System {
  return {
    name,
    asUser,
    needs: join(checkout, 'dist/cli/main.js'),
    copiesUp: true,
    mounts: true,
    command: (p) => [
      join(checkout, 'bin/layerfs'),
      'mount',
      ...extra,
      ...p.lowers.flatMap((lower) => ['--lower', lower]),
      ...(p.withoutUpper ? [] : ['--upper', p.upper, '--work', p.work]),
      p.mnt,
    ],
  }
}

function fuseOverlayfs(name: string, asUser: boolean): System {
  return {
    name,
    asUser,
    needs: '/usr/bin/fuse-overlayfs',
    copiesUp: true,
    mounts: true,
    command: (p) => ['fuse-overlayfs', '-o', overlayOptions(p), p.mnt],
  }
}

const overlayOptions = (p: Place): string =>
  `lowerdir=${p.lowers.join(':')}${p.withoutUpper ? '' : `,upperdir=${p.upper},workdir=${p.work}`}`

/** As unionfs-fuse and mergerfs take them. */
const branches = (p: Place): string =>
  [...(p.withoutUpper ? [] : [`${p.upper}=RW`]), ...p.lowers.map((lower) => `${lower}=RO`)].join(':')

/** @param against other checkouts of layerfs, built, to measure beside this one */
export function systems(against: readonly string[]): System[] {
  return [
    {
      name: 'plain',
      asUser: false,
      needs: '/bin/cp',
      copiesUp: true,
      mounts: false,
      command: (p) =>
        p.writes ? ['cp', '-a', `${p.plain}/.`, p.mnt] : ['mount', '--bind', `${p.plain}/.`, p.mnt],
    },
    {
      name: 'overlayfs',
      asUser: false,
      needs: '/bin/mount',
      copiesUp: true,
      mounts: true,
      command: (p) => ['mount', '-t', 'overlay', 'overlay', '-o', overlayOptions(p), p.mnt],
    },
    fuseOverlayfs('fuse-overlayfs', false),
    {
      name: 'unionfs-fuse',
      asUser: false,
      needs: '/usr/bin/unionfs-fuse',
      copiesUp: true,
      mounts: true,
      command: (p) => ['unionfs-fuse', '-o', 'cow,allow_other,default_permissions', branches(p), p.mnt],
    },
    {
      name: 'mergerfs',
      asUser: false,
      needs: '/usr/bin/mergerfs',
      copiesUp: false,
      mounts: true,
      command: (p) => [
        'mergerfs',
        '-o',
        'category.create=ff,cache.files=auto-full,dropcacheonclose=false',
        branches(p),
        p.mnt,
      ],
    },
    layerfs('layerfs', false, ROOT),
    ...against.map((checkout) => layerfs(`layerfs@${checkout}`, false, checkout)),
    { ...layerfs('layerfs-host', false, ROOT), hosted: true },
    { ...layerfs('layerfs-host-all', false, ROOT, ['--passthrough', 'all']), hosted: true },
    layerfs('layerfs-native', false, ROOT, ['--transport', 'fuse-native']),
    fuseOverlayfs('fuse-overlayfs-user', true),
    layerfs('layerfs-user', true, ROOT),
    { ...layerfs('layerfs-host-user', true, ROOT), hosted: true },
    ...against.map((checkout) => layerfs(`layerfs-user@${checkout}`, true, checkout)),
  ]
}

/** @throws Error in one line where a system's program is not there */
export function check(chosen: readonly System[]): void {
  for (const system of chosen) {
    if (existsSync(system.needs)) continue
    const advice = system.needs.includes('dist')
      ? 'build that checkout: npm run build'
      : 'run scripts/bench/setup'
    throw new Error(`${system.name} needs ${system.needs}, which is not there: ${advice}`)
  }
}

/** @param env for its command. @returns milliseconds until it was ready. @throws Error */
export function mount(system: System, place: Place, env: Record<string, string> = {}): number {
  const ran = run(system.command(place), { asUser: system.asUser, env })
  if (!ran.ok) throw new Error(`${system.name} does not mount: ${ran.said}`)
  return ran.ms
}

export function unmount(system: System, mnt: string): void {
  const command = system.asUser ? `fusermount3 -u ${mnt}` : `umount ${mnt}`
  for (let tries = 0; mounted(mnt); tries++) {
    const ran = shell(command, { asUser: system.asUser })
    if (ran.ok) return
    if (tries === 20) throw new Error(`${system.name} cannot be unmounted: ${ran.said}`)
    shell('sleep 0.05')
  }
}

/** Asks the table of mounts: root may not look into a user's mount. */
const mounted = (mnt: string): boolean => readFileSync('/proc/self/mountinfo', 'latin1').includes(` ${mnt} `)
