/** npm on a real project: installed in a lower or the upper, then installed anew from its lock file over the mount. */
import fs from 'node:fs'
import path from 'node:path'
import { compareTrees } from '../../test/support/tree.js'
import { type Score, type Suite, steps } from './score.js'
import { type Place, run } from './systems.js'

function score(installed: string, place: Place): Score {
  const npm = (dir: string, ...words: string[]): void => {
    const { status, output } = run(['npm', ...words, '--no-audit', '--no-fund'], { cwd: dir, minutes: 15 })
    if (status !== 0) throw new Error(`${status}: ${output.trim().split('\n').slice(-3).join('; ')}`)
  }
  const fill = (dir: string): void => {
    for (const name of ['package.json', 'package-lock.json'])
      fs.copyFileSync(path.join(installed, name), path.join(dir, name))
    npm(dir, 'ci', '--ignore-scripts')
  }
  const plain = path.join(place.top, 'plain')
  fs.mkdirSync(plain)
  fill(plain)
  place.prepare(fill)
  const same = (): void => {
    const found = compareTrees(plain, place.dir, { without: ['mtime'] })
    if (found.length > 0) throw new Error(`${found.length} differences: ${found.slice(0, 5).join('; ')}`)
  }
  return steps([
    ['ci over what was installed', () => npm(place.dir, 'ci', '--ignore-scripts')],
    ['every file as in a plain directory', same],
    ['ls finds what the lock file names', () => npm(place.dir, 'ls', '--all')],
    ['ci again', () => npm(place.dir, 'ci', '--ignore-scripts')],
    ['remount', () => place.remount()],
    ['every file after the remount', same],
  ])
}

export const npm: Suite = {
  name: 'npm',
  variable: 'NPM_PROJECT',
  holds: 'package-lock.json',
  layouts: ['upper', 'lower'],
  score,
}
