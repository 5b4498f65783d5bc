/** Everything that a fixture does, on a copy: `node portable.cases.mjs DIST DIR OUT` writes what came of it to OUT as JSON. */
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { given } from 'vitest'

const [dist, dir, out] = process.argv.slice(2)
const load = (file) => import(pathToFileURL(path.join(dist, file)).href)
const { assertChanged, assertUnchanged, fixture, freeStale, suiteFixture } = await load('testing/index.js')
const { fixtureTest } = await load('testing/vitest.js')

const lower = ['top', 'site'].map((name) => path.join(dir, name))
const started = Date.now() - 60_000
const options = { lower, fallback: 'copy' }
const results = {}

/** All that a tree shows. Times in milliseconds. */
function tree(top, below = '') {
  const all = {}
  for (const name of fs.readdirSync(path.join(top, below)).sort()) {
    const at = path.join(below, name)
    const file = path.join(top, at)
    const stats = fs.lstatSync(file)
    const content = stats.isSymbolicLink()
      ? fs.readlinkSync(file)
      : stats.isFile()
        ? fs.readFileSync(file, 'latin1')
        : ''
    all[at] = [stats.mode.toString(8), Math.round(stats.mtimeMs), content]
    if (stats.isDirectory()) Object.assign(all, tree(top, at))
  }
  return all
}

/** Gives all that was written just now a time that survives being copied as a number of seconds. */
function settle(top) {
  for (const name of ['', ...Object.keys(tree(top))]) {
    const file = path.join(top, name)
    if (fs.lstatSync(file).mtimeMs > started) fs.lutimesSync(file, 1.65e9, 1.65e9)
  }
}

const names = (top) => Object.keys(tree(top))
const told = async (fixture) => (await fixture.diff()).map((c) => `${c.change} ${c.path} ${c.kind}`)

async function failure(work) {
  try {
    await work()
    return 'none'
  } catch (error) {
    return `${error.name} ${error.code}: ${error.message.replace(/\/\S*(layerfs-fixture-)\w+/, '$1')}`
  }
}

const files = await fixture(options)
const at = (name) => path.join(files.path, name)
const read = (name) => fs.readFileSync(at(name), 'utf8')

results.kind = [files.how, files.upper === undefined]
results.tree = tree(files.path)
results.fresh = await told(files)
await assertUnchanged(files)

const { ino } = fs.statSync(files.path)
fs.appendFileSync(at('index.html'), 'more\n')
fs.rmSync(at('posts/first.md'))
fs.rmSync(at('docs'), { recursive: true })
fs.mkdirSync(at('new/deep'), { recursive: true })
fs.writeFileSync(at('new/deep/file'), 'one\ntwo\n')
fs.chmodSync(at('run'), 0o700)
fs.chmodSync(at('shelf'), 0o700)
fs.utimesSync(at('touched'), 1, 2)
const before = fs.statSync(at('again'))
fs.writeFileSync(at('again'), 'again\n')
fs.utimesSync(at('again'), before.atime, before.mtime)
fs.rmSync(at('link'))
fs.symlinkSync('posts', at('link'))
fs.rmSync(at('file'))
fs.mkdirSync(at('file'))
fs.writeFileSync(at('file/in'), 'in')
fs.rmSync(at('dir'), { recursive: true })
fs.writeFileSync(at('dir'), 'was one')
fs.rmSync(at('plain'))
fs.symlinkSync('run', at('plain'))
fs.writeFileSync(at('binary'), Buffer.from([1, 0, 3]))
fs.writeFileSync(at('ä'), '')
fs.writeFileSync(at('\u{1f600}'), '')
fs.writeFileSync(at('\uff00'), '')
fs.writeFileSync(at('gone'), 'back\n')

settle(files.path)

results.changed = await told(files)
results.patch = await files.patch()
results.assertChanged = await failure(() => assertChanged(files, ['index.html', 'nothing']))
results.matchers = [
  (await given.matchers.toBeUnchanged(files)).pass,
  (
    await given.matchers.toHaveChanged(
      files,
      (await files.diff()).map((c) => c.path),
    )
  ).pass,
]

const kept = await files.snapshot()
const then = tree(files.path)
await files.commit(path.join(dir, 'layer'))
fs.rmSync(at('new'), { recursive: true })
fs.writeFileSync(at('later'), '')
results.restored = [await files.restore(kept), JSON.stringify(tree(files.path)) === JSON.stringify(then)]
results.reset = [await files.reset(), await told(files), read('index.html')]
results.twice = [await files.restore(kept), JSON.stringify(tree(files.path)) === JSON.stringify(then)]
results.sameDirectory = fs.statSync(files.path).ino === ino
await files.reset()

const committed = await fixture({ ...options, lower: [path.join(dir, 'layer'), ...lower] })
const shown = tree(committed.path)
results.committed = Object.keys(then).filter(
  (name) => JSON.stringify(then[name]) !== JSON.stringify(shown[name]),
)
results.committedNames = names(committed.path).length === Object.keys(then).length
await committed.unmount()

results.misuse = [
  await failure(() => files.commit(dir)),
  await failure(() => files.commit(path.join(dir, 'no/where'))).then((text) => text.split(':')[0]),
  await failure(() => files.restore({ path: '/nowhere' })),
  await failure(() => fixture({})),
  await failure(() => fixture({ ...options, lower: [] })),
  await failure(() => fixture({ ...options, fallback: 'clone' })),
  await failure(() => fixture({ ...options, lower: '/no/where' })),
  await failure(() => fixture({ ...options, lower: path.join(dir, 'site/run') })),
]
results.leftAsItWas = await told(files)
await files.unmount()
await files.unmount()
results.unmounted = [fs.existsSync(files.path)]
for (const ask of [
  () => files.diff(),
  () => files.patch(),
  () => files.reset(),
  () => files.snapshot(),
  () => files.restore(kept),
  () => files.commit(path.join(dir, 'other')),
])
  results.unmounted.push(await failure(ask))

const disposed = await fixture(options)
await disposed[Symbol.asyncDispose]()
results.disposed = fs.existsSync(disposed.path)

const hooks = {}
const hook = (name) => (work) => {
  hooks[name] = work
}
const suite = suiteFixture(
  { beforeAll: hook('before'), afterAll: hook('after'), afterEach: hook('each') },
  options,
)
await hooks.before()
fs.writeFileSync(path.join(suite().path, 'x'), '')
await assertChanged(suite(), ['x'])
await hooks.each()
await assertUnchanged(suite())
await hooks.after()

fixtureTest(options)
await given.fixtures.files({}, async (own) => {
  results.vitest = names(own.path).length === Object.keys(results.tree).length
})

results.stale = await freeStale()
await fixture(options)
// What is still there goes when the process ends.
results.standing = fs.readdirSync(process.env.TMPDIR).length
fs.writeFileSync(out, JSON.stringify(results, undefined, 1))
