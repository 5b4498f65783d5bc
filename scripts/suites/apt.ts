/** apt and dpkg in a Debian root: packages of a local repository are installed, upgraded, removed and purged. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { compareTrees } from '../../test/support/tree.js'
import { type Score, type Suite, steps } from './score.js'
import { type Place, run } from './systems.js'

const sh = (script: string, cwd: string): void => {
  execFileSync('bash', ['-euo', 'pipefail', '-c', script], { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
}

/**
 * A repository `repo/` of two versions of a package with conffiles, hard links, symlinks, owners and modes, scripts, a
 * diversion and a trigger, and of one that it needs; and ROOT/repo as the root sees it.
 */
const REPOSITORY = `
package() { # NAME VERSION FIELDS
  mkdir -p "$1/DEBIAN"
  printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: nobody <nobody@example.org>\\nDescription: %s\\n%s' \\
    "$1" "$2" "$1" "$3" >"$1/DEBIAN/control"
}
pack() { # NAME VERSION
  dpkg-deb --build "$1" "repo/$1_$2_all.deb"; rm -r "$1"
}
mkdir repo
package layers-base 1 ''
mkdir -p layers-base/usr/lib/layers; for i in $(seq 300); do echo "$i" >layers-base/usr/lib/layers/$i; done
pack layers-base 1
for version in 1 2; do
  package layers $version $'Depends: layers-base\\n'
  cd layers; mkdir -p etc/layers usr/bin usr/share/layers/dir var/lib/layers
  echo "version $version" >etc/layers/kept.conf; echo "version $version" >etc/layers/taken.conf
  printf '/etc/layers/kept.conf\\n/etc/layers/taken.conf\\n' >DEBIAN/conffiles
  printf '#!/bin/sh\\necho %s\\n' $version >usr/bin/layers; chmod 4755 usr/bin/layers
  ln usr/bin/layers usr/bin/layers-linked; ln -s layers usr/bin/layers-symlink
  echo "$version" >usr/share/layers/dir/only-in-$version; truncate -s 3M usr/share/layers/sparse
  chown 1:2 usr/share/layers/dir; chmod 2775 usr/share/layers/dir
  printf 'interest /usr/lib/layers\\n' >DEBIAN/triggers
  cat >DEBIAN/postinst <<'END'
#!/bin/sh
set -e
case $1 in
triggered) echo triggered >>/var/lib/layers/log ;;
configure)
  dpkg-divert --quiet --local --rename --divert /usr/share/doc/dpkg/copyright.diverted --add /usr/share/doc/dpkg/copyright ;;
esac
END
  cat >DEBIAN/postrm <<'END'
#!/bin/sh
set -e
case $1 in
remove) dpkg-divert --quiet --local --rename --remove /usr/share/doc/dpkg/copyright ;;
purge) rm -rf /var/lib/layers ;;
esac
END
  chmod 755 DEBIAN/postinst DEBIAN/postrm
  cd ..; pack layers $version
done
cd repo
for deb in *.deb; do
  dpkg-deb -f "$deb"
  printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d ' ' -f 1)"
done >Packages`

const APT = 'apt-get -q -y -o Dpkg::Options::=--force-confdef'

/** Done in the root, one after the other. */
const WORK: readonly (readonly [name: string, script: string])[] = [
  [
    'apt-get update from file:',
    `rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
     echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
     apt-get -q update; apt-cache show layers >/dev/null`,
  ],
  [
    'install with what it depends on',
    `${APT} install layers=1; test "$(layers-linked)" = 1; test -e /usr/share/doc/dpkg/copyright.diverted`,
  ],
  [
    'upgrade with conffiles',
    `echo mine >>/etc/layers/kept.conf; ${APT} install layers; test "$(layers-linked)" = 2
     grep mine /etc/layers/kept.conf; test "$(cat /etc/layers/taken.conf)" = 'version 2'
     test ! -e /usr/share/layers/dir/only-in-1; test -e /usr/share/layers/dir/only-in-2`,
  ],
  [
    'remove, and install an older one by its path',
    `${APT} remove layers; test -e /etc/layers/kept.conf; test ! -e /usr/bin/layers
     ${APT} install --allow-downgrades /repo/layers_1_all.deb; layers-symlink`,
  ],
  [
    'purge',
    `${APT} purge layers; test ! -e /etc/layers; test ! -e /var/lib/layers
     test -e /usr/share/doc/dpkg/copyright; ${APT} autoremove; test ! -e /usr/lib/layers`,
  ],
  ['install again', `${APT} install layers=1`],
  ['dpkg and apt find all well', 'test -z "$(dpkg --audit)"; apt-get check; dpkg --verify'],
  ['set up anew what the root came with', 'dpkg-reconfigure -f noninteractive debconf libc6 passwd'],
]
/** What two runs of the same differ in. */
const TIMED = [
  'var/log/dpkg.log',
  'var/log/alternatives.log',
  'var/log/apt',
  'var/cache/apt',
  'var/cache/ldconfig',
  'var/lib/apt/extended_states',
]

function inside(root: string, script: string): void {
  const { status, output } = run(['chroot', root, '/bin/sh', '-euc', script], {
    minutes: 10,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', TMPDIR: '/tmp' },
  })
  if (status !== 0) throw new Error(`${status}: ${output.trim().split('\n').slice(-3).join('; ')}`)
}

function score(installed: string, place: Place): Score {
  const plain = path.join(place.top, 'plain')
  const copy = (dir: string): void => {
    sh(`cp -a '${installed}/.' '${dir}'; cp -a repo '${dir}/repo'`, place.top)
  }
  const same = (): void => {
    const found = compareTrees(plain, place.dir, { without: ['mtime'] })
    if (found.length > 0) throw new Error(`${found.length} differences: ${found.slice(0, 5).join('; ')}`)
  }
  sh(REPOSITORY, place.top)
  place.prepare(copy)
  fs.mkdirSync(plain)
  copy(plain)
  for (const [, script] of WORK) inside(plain, script)
  const forget = (root: string): void => {
    for (const name of TIMED) fs.rmSync(path.join(root, name), { recursive: true, force: true })
  }
  forget(plain)
  return steps([
    ...WORK.map(([name, script]) => [name, () => inside(place.dir, script)] as const),
    [
      'every file as in a plain copy',
      () => {
        forget(place.dir)
        same()
      },
    ],
    ['remount', () => place.remount()],
    ['every file after the remount', same],
  ])
}

export const apt: Suite = {
  name: 'apt',
  variable: 'DEBIAN_ROOT',
  holds: 'usr/bin/apt-get',
  layouts: ['upper', 'lower'],
  score,
}
