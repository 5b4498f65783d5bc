/** One upper under two union filesystems, run in a user namespace: `namespace BIN JSON`. Prints the differences as JSON. */
import { differences, type Facts, snapshot } from '../support/tree.js'
import { Bench, type System } from './mount.js'
import { change, fillLower } from './trees.js'

const [bin = '', systems = ''] = process.argv.slice(2)
const [writer, reader, apart] = JSON.parse(systems) as [System, System, (keyof Facts)[]]
const look = (mnt: string) => snapshot(mnt, { without: apart })
process.umask(0o022)
const bench = new Bench(bin)
try {
  fillLower(bench.at('lower'), { root: false })
  const written = bench.under(writer, (mnt) => {
    change(mnt, { root: false, renames: false, hardlinks: true, longNames: true, specials: true })
    return look(mnt)
  })
  const got = bench.under(reader, look)
  console.log(JSON.stringify({ files: written.size, found: differences(written, got) }))
} finally {
  bench.remove()
}
