/** dpkg on a root that lies in a lower, and the same done to a plain copy of it. */
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compareTrees } from '../support/tree.js'
import { Mounted } from './mounted.js'

/** Makes NAME_VERSION.deb of a package with two conffiles, a hard link, a symlink, owners and modes. */
const PACK = `
  pack() {
    mkdir -p pkg/DEBIAN pkg/etc/$1 pkg/usr/bin pkg/usr/share/$1/dir
    printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: d\\n' $1 $2 >pkg/DEBIAN/control
    printf '/etc/%s/kept\\n/etc/%s/taken\\n' $1 $1 >pkg/DEBIAN/conffiles
    echo $2 >pkg/etc/$1/kept; echo $2 >pkg/etc/$1/taken
    echo $2 >pkg/usr/bin/$1; chmod 4755 pkg/usr/bin/$1; ln pkg/usr/bin/$1 pkg/usr/bin/$1-linked; ln -s $1 pkg/usr/bin/$1-symlink
    for i in $(seq 12); do echo $i >pkg/usr/share/$1/dir/$i; done; echo $2 >pkg/usr/share/$1/only-in-$2
    chown 3:4 pkg/usr/share/$1/dir; chmod 2775 pkg/usr/share/$1/dir
    dpkg-deb -Zgzip --build pkg $1_$2.deb >/dev/null; rm -r pkg
  }
  pack one 1; pack one 2; pack two 1
`

/** `install DEB` and so on, in the root of the working directory. */
const DPKG = `
  export PATH="$PATH:/usr/sbin:/sbin"
  dpkg_() { dpkg --root="$PWD" --log=/dev/null --force-confdef --force-confold "$@" >/dev/null 2>"$DIR/said" || { cat "$DIR/said"; exit 1; }; }
`

/** Declares the test, over a transport. */
export function dpkg(transport: Mounted['transport']): void {
  let m: Mounted
  beforeEach(() => {
    m = new Mounted(transport)
  })
  afterEach(() => m.remove())

  describe('dpkg', () => {
    it('upgrades, installs, removes and purges packages, as in a plain root', () => {
      m.sh(PACK, m.dir)
      fs.mkdirSync(path.join(m.lower, 'root'))
      m.sh(
        `mkdir -p var/lib/dpkg/info var/lib/dpkg/updates; touch var/lib/dpkg/status
       ${DPKG} dpkg_ --install "$DIR/one_1.deb"; echo mine >>etc/one/kept; cp -a . "$DIR/plain"`,
        path.join(m.lower, 'root'),
      )
      m.mount()
      const mounted = path.join(m.mnt, 'root')
      const plain = path.join(m.dir, 'plain')
      const turns = [
        'dpkg_ --install "$DIR/one_2.deb" "$DIR/two_1.deb"; dpkg_ --verify; rm usr/share/two/dir/7',
        'dpkg_ --remove one; dpkg_ --install "$DIR/two_1.deb"',
        'dpkg_ --install "$DIR/one_1.deb"; dpkg_ --purge two',
        'dpkg_ --purge one',
      ]
      const states = ['one 2 ii\ntwo 1 ii', 'one 2 rc\ntwo 1 ii', 'one 1 ii', '']
      turns.forEach((turn, i) => {
        for (const root of [plain, mounted]) m.sh(`${DPKG} ${turn}`, root)
        const list = `dpkg-query --admindir=var/lib/dpkg -W -f '\${Package} \${Version} \${db:Status-Abbrev}\\n' | sed 's/ *$//; /un$/d'`
        expect(m.sh(list, mounted)).toBe(states[i])
        expect(compareTrees(plain, mounted, { without: ['mtime'] })).toEqual([])
        m.remount()
        expect(compareTrees(plain, mounted, { without: ['mtime'] })).toEqual([])
      })
      expect(fs.existsSync(path.join(m.lower, 'root/usr/share/one/only-in-1'))).toBe(true)
    })
  })
}
