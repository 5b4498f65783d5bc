import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { S_IFCHR } from '../../../src/abi/linux.js'
import { CASES } from '../../conformance/cases/index.js'
import { mknod } from '../../support/sys.js'

const layout = process.argv[2] ?? 'lower'
const only = process.argv[3]
const dir = fs.mkdtempSync('/tmp/lfconf-')
fs.chmodSync(dir, 0o755)
process.umask(0o022)
const at = (n: string) => path.join(dir, n)
for (const n of ['upper', 'work', 'lower', 'lowest', 'mnt']) fs.mkdirSync(at(n))
const place = { upper: 'upper', lower: 'lower', merged: 'lower' }[layout] as string
const cases: [string, string][] = []
CASES.filter((c) => !only || c.name.includes(only)).forEach((c, i) => {
  const own = `case-${i}`
  const p = path.join(at(place), own)
  fs.mkdirSync(p)
  c.prepare?.(p)
  if (layout === 'merged') {
    fs.mkdirSync(path.join(at('lowest'), own))
    fs.writeFileSync(path.join(at('lowest'), own, 'hidden'), 'x')
    fs.mkdirSync(path.join(at('upper'), own))
    mknod(path.join(at('upper'), own, 'hidden'), S_IFCHR, 0)
  }
  cases.push([c.name, own])
})
const opts = {
  lower: layout === 'upper' ? [at('lowest')] : [at('lower'), at('lowest')],
  upper: at('upper'),
  work: at('work'),
  mountpoint: at('mnt'),
}
const server = spawn(process.execPath, ['--import', 'tsx', 'test/native/server.ts', JSON.stringify(opts)], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
await new Promise((r) => server.stdout.once('data', r))
const runner = spawn(
  process.execPath,
  ['--import', 'tsx', 'test/conformance/runner.ts', JSON.stringify({ dir: at('mnt'), cases })],
  { stdio: ['ignore', 'pipe', 'inherit'] },
)
let pass = 0,
  fail = 0,
  started = ''
createInterface({ input: runner.stdout }).on('line', (l) => {
  const o = JSON.parse(l)
  if (o.start) started = o.start
  else if (o.error) {
    fail++
    console.log(
      `FAIL ${o.name}\n    ${String(o.error)
        .split('\n')
        .filter((x: string) => !x.includes('node_modules') && !x.includes('node:internal'))
        .slice(0, process.env.V ? 20 : 4)
        .join('\n    ')}`,
    )
  } else pass++
})
await Promise.race([new Promise((r) => runner.once('close', r)), new Promise((r) => setTimeout(r, 60000))])
console.log({ pass, fail, started })
server.kill()
await Promise.race([new Promise((r) => server.once('close', r)), new Promise((r) => setTimeout(r, 5000))])
spawnSync('umount', ['-l', at('mnt')])
fs.rmSync(dir, { recursive: true, force: true })
process.exit(0)
