/** Changes a stack over and over until it is killed: `crasher DIR SEED`. Files are whole before and after each step. */
import fs from 'node:fs'
import { O_RDONLY } from '../../src/abi/linux.js'
import { Client } from './client.js'

const [dir = '', seed = '0'] = process.argv.slice(2)
const lending = Number(seed) % 2 === 1
const c = new Client(
  { lower: [`${dir}/lower`], upper: `${dir}/upper`, work: `${dir}/work` },
  { passthrough: lending, lowers: lending },
)
let state = Number(seed)
const random = (n: number): number => {
  state = (state * 1103515245 + 12345) & 0x7fffffff
  return (state >> 8) % n
}

const link = (from: string, to: string): void => {
  if (!c.exists(to)) c.link(from, to)
}

// Whoever has a file of the lower open is led to its copy where the kernel reads it by itself.
if (lending) for (let k = 0; k < 12; k++) c.open(`file${k}`, O_RDONLY)
fs.writeSync(1, 'ready\n')
for (;;) {
  const k = random(12)
  const moved = c.exists(`moved${k}`)
  switch (random(5)) {
    case 0:
      c.append(`file${k}`, '')
      c.setattr(`file${k}`, { mode: 0o600 + random(64) })
      break
    case 1:
      c.write('new', 'new '.repeat(10_000))
      c.rename('new', `file${k}`)
      break
    case 2:
      c.rename(moved ? `moved${k}` : `dir${k}`, moved ? `dir${k}` : `moved${k}`)
      break
    case 3:
      if (c.exists(`gone${k}`)) c.rmdir(`gone${k}`)
      else c.mkdir(`gone${k}`)
      break
    case 4:
      c.append(`${moved ? 'moved' : 'dir'}${k}/inside`, '')
      link(`file${k}`, `link${random(1000)}`)
  }
}
