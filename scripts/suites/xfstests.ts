/** xfstests' generic tests: over a mount as its filesystem `fuse`, over ext4 and over the kernel's overlayfs on ext4. */
import fs from 'node:fs'
import path from 'node:path'
import type { Score, Suite } from './score.js'
import { LAYERFS, type Place, run, type System, TOP } from './systems.js'

/** What of it runs, as words of `check`. */
const TESTS = (process.env.XFSTESTS_RUN ?? '-g generic/quick').split(' ')

/** Sparse; each holds one of the two filesystems that xfstests wants for ext4 and overlayfs. */
const IMAGE_BYTES = 8 * 2 ** 30

/**
 * In a mount namespace of its own: `layerfs` is put on the path, where mount.fuse looks for the program of the type
 * fuse.layerfs, and a `df` that calls this type `fuse`, since xfstests takes other types for other filesystems. For ext4
 * and overlayfs two images become loop devices.
 */
const SCRIPT = `
  mount -t tmpfs tmpfs /usr/local/sbin
  printf %s "$PROGRAM" >/usr/local/sbin/layerfs; 
  printf '#!/bin/bash\\nset -o pipefail\\n%s "$@" | sed s/fuse[.]layerfs/fuse/\\n' "$(command -v df)" >/usr/local/sbin/df
  chmod 755 /usr/local/sbin/*
  export PATH="/usr/local/sbin:/usr/sbin:/sbin:$PATH"
  if [ -n "\${IMAGES-}" ]; then
    for name in TEST SCRATCH; do
      mkfs.ext4 -q -F "$IMAGES/$name"
      export \${name}_DEV="$(losetup --find --show "$IMAGES/$name")"
    done
    trap 'umount -q "$TEST_DEV" "$SCRATCH_DEV"; losetup -d "$TEST_DEV" "$SCRATCH_DEV"' EXIT
  fi
  ./check "$@"`

function environment(place: Place): NodeJS.ProcessEnv {
  const made = (name: string): string => {
    const dir = path.join(place.top, 'xfstests', name)
    fs.mkdirSync(dir, { recursive: true })
    return dir
  }
  const common = { TEST_DIR: made('test'), SCRATCH_MNT: made('scratch'), RESULT_BASE: made('results') }
  if (place.system === 'directory' || place.system === 'overlay') {
    const images = made('images')
    for (const name of ['TEST', 'SCRATCH']) {
      fs.writeFileSync(path.join(images, name), '')
      fs.truncateSync(path.join(images, name), IMAGE_BYTES)
    }
    return { ...common, FSTYP: 'ext4', IMAGES: images }
  }
  const options = (name: string): string =>
    `-o${LAYERFS[place.system]},lowerdir=${made(`${name}-lower`)},upperdir=${made(`${name}-upper`)},workdir=${made(`${name}-work`)}`
  return {
    ...common,
    FSTYP: 'fuse',
    FUSE_SUBTYP: '.layerfs',
    TEST_DEV: 'layerfs-test',
    SCRATCH_DEV: 'layerfs-scratch',
    // By the source's name, since some tests mount without MOUNT_OPTIONS.
    PROGRAM: `#!/bin/sh
case $1 in
layerfs-test) set -- "$@" '${options('test')}' ;;
layerfs-scratch) set -- "$@" '${options('scratch')}' ;;
esac
exec '${path.join(TOP, 'bin/mount.fuse.layerfs')}' "$@"
`,
  }
}

const WAYS: Partial<Record<System, string[]>> = {
  directory: [],
  layerfs: [],
  'layerfs-all': [],
  'fuse-native': [],
  overlay: ['-overlay'],
}

function score(installed: string, place: Place): Score {
  place.unmount()
  const { output } = run(
    ['unshare', '-m', 'bash', '-c', SCRIPT, 'bash', ...(WAYS[place.system] ?? []), ...TESTS],
    { cwd: installed, minutes: 120, env: { PROGRAM: '', ...environment(place) } },
  )
  const names = (line: string): string[] =>
    new RegExp(`^${line}: (.*)$`, 'm')
      .exec(output)?.[1]
      ?.split(' ')
      .filter((name) => name !== '') ?? []
  const [ran, without] = [names('Ran'), names('Not run')]
  const said = (name: string): string => new RegExp(`^${name} (.*)$`, 'm').exec(output)?.[1] ?? ''
  const failed = new Map(names('Failures').map((name) => [name, said(name).replace(/\(see .*/, '')]))
  if (ran.length === 0) failed.set('check', output.trim().split('\n').slice(-3).join('; '))
  return { ran: ran.length - without.length, failed }
}

/** It makes its own stack of one lower and an upper. */
export const xfstests: Suite = {
  name: 'xfstests',
  variable: 'XFSTESTS',
  holds: 'check',
  systems: ['directory', 'layerfs', 'layerfs-all', 'fuse-native', 'overlay'],
  layouts: ['upper'],
  score,
}
