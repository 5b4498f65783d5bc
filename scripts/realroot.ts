/**
 * A real root filesystem, used as people use one: `tsx scripts/realroot.ts DIR`, as root, on Debian.
 *
 * Makes a Debian root with mmdebstrap under DIR (or takes DIR/base), splits it into three layers, mounts them, and works
 * in it by chroot: installs and purges packages, adds a user, moves, links, removes and makes directories anew, unpacks an
 * archive. The same is done to a plain copy. Then every name's type, mode, owner, target, content, xattrs, link count
 * and link group must be the same: at once, after a remount, and through the kernel's overlayfs over the same upper.
 * Times are left out, since two runs of dpkg differ in them.
 */

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { layerfs } from '../test/support/command.js'
import { mountOverlay, umount } from '../test/support/mounts.js'
import { compareTrees } from '../test/support/tree.js'

const [dir] = process.argv.slice(2)
if (dir === undefined || process.getuid?.() !== 0) {
  console.error('usage, as root: npx tsx scripts/realroot.ts DIR')
  process.exit(2)
}
const at = (name: string): string => path.resolve(dir, name)
const run = (program: string, ...words: string[]): void => {
  execFileSync(program, words, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** What goes to the middle layer. */
const MIDDLE = ['usr/share/doc', 'usr/share/perl', 'usr/lib/python3']
/** What the top layer hides. */
const HIDDEN = 'usr/share/man/fr'

/** Done inside each root. Logs and caches hold times. */
const WORK = `
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C
dpkg -i /root/debs/*.deb
dpkg --purge nano
useradd --create-home somebody
rm -rf /usr/share/doc/tar && mkdir /usr/share/doc/tar && echo new > /usr/share/doc/tar/README
mv /usr/share/doc/bash /usr/share/doc/bash.moved && echo more >> /usr/share/doc/bash.moved/README
mv /usr/lib/python3 /opt/python3
ln /usr/bin/gzip /usr/bin/gzip.link && ln -s gzip.link /usr/bin/gzip.symlink
echo x >> /usr/bin/gzip.link
chmod -R g+w /usr/share/doc/dpkg
chown -R somebody: /usr/share/common-licenses
tar -C / -cf - usr/share/zoneinfo/Europe | tar -C /srv -xf -
rm -rf /usr/share/zoneinfo/Africa /root/debs
ldconfig
for log in dpkg.log alternatives.log apt/term.log apt/history.log; do : > /var/log/$log; done
rm -f /var/cache/ldconfig/aux-cache
`

function prepare(): void {
  if (!fs.existsSync(at('base'))) {
    const base = at('base')
    run('mmdebstrap', '--quiet', '--variant=standard', '--skip=check/empty', 'bookworm', base)
  }
  for (const name of ['bottom', 'middle', 'top', 'upper', 'work', 'merged', 'plain', 'debs'])
    fs.rmSync(at(name), { recursive: true, force: true })
  for (const name of ['middle', 'top', 'upper', 'work', 'merged', 'debs']) fs.mkdirSync(at(name))
  execFileSync('apt-get', ['-q', 'download', 'hello', 'tree'], { cwd: at('debs'), stdio: 'ignore' })
  run('cp', '-a', at('base'), at('plain'))
  fs.rmSync(at(`plain/${HIDDEN}`), { recursive: true })
  run('cp', '-a', at('base'), at('bottom'))
  const middle = at('middle')
  for (const part of MIDDLE) {
    execFileSync('cp', ['-a', '--parents', part, middle], { cwd: at('bottom') })
    fs.rmSync(at(`bottom/${part}`), { recursive: true })
  }
  const hidden = path.dirname(HIDDEN)
  execFileSync('bash', ['-c', `cp -a --parents ${hidden} ${at('top')} && rm -rf ${at(`top/${hidden}`)}/*`], {
    cwd: at('bottom'),
  })
  run('mknod', at(`top/${HIDDEN}`), 'c', '0', '0')
  // Moving and removing has touched directories that the plain copy has as they were.
  for (const layer of ['top', 'middle'])
    for (const name of ['', 'usr', 'usr/share', 'usr/lib', hidden])
      if (fs.existsSync(at(`${layer}/${name}`))) {
        run('chown', '--reference', at(`base/${name}`), at(`${layer}/${name}`))
        run('chmod', '--reference', at(`base/${name}`), at(`${layer}/${name}`))
      }
}

function work(root: string): number {
  run('cp', '-a', at('debs'), path.join(root, 'root'))
  const began = performance.now()
  run('chroot', root, '/bin/sh', '-c', WORK)
  return (performance.now() - began) / 1000
}

const LOWER = ['top', 'middle', 'bottom']
function mount(): void {
  const lower = LOWER.flatMap((name) => ['--lower', at(name)])
  const { code, stderr } = layerfs([
    'mount',
    ...lower,
    '--upper',
    at('upper'),
    '--work',
    at('work'),
    at('merged'),
  ])
  if (code !== 0) throw new Error(`layerfs mount: ${stderr}`)
}

let failures = 0
function compare(what: string): void {
  const found = compareTrees(at('plain'), at('merged'), { without: ['mtime'] })
  console.log(`${what}: ${found.length === 0 ? 'identical' : `${found.length} differences`}`)
  for (const line of found.slice(0, 20)) console.log(`  ${line}`)
  failures += found.length
}

interface Stats {
  requests: number
  memory: number
}
function stats(): string {
  const said = JSON.parse(layerfs(['stats', '--json', at('merged')]).stdout) as Stats
  return `${said.requests} requests so far, ${Math.round(said.memory / 2 ** 20)} MiB resident`
}

prepare()
console.log(`plain copy: ${work(at('plain')).toFixed(1)} s of work in it`)
mount()
try {
  console.log(`layerfs at rest: ${stats()}`)
  console.log(`layerfs: ${work(at('merged')).toFixed(1)} s of work in it; ${stats()}`)
  compare('after the work')
  console.log(`all of it read: ${stats()}`)
  layerfs(['umount', at('merged')])
  mount()
  compare('mounted again')
} finally {
  layerfs(['umount', at('merged')])
}
const overlay = { lower: LOWER.map(at), upper: at('upper'), work: at('work'), mountpoint: at('merged') }
mountOverlay(overlay, ['redirect_dir=on'])
try {
  compare("through the kernel's overlayfs")
} finally {
  umount(at('merged'))
}
process.exitCode = failures === 0 ? 0 : 1
