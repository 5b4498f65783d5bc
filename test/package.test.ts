import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { scratch } from './support/identity.js'
import { discard } from './support/mounts.js'
import { run, shell, TOP } from './support/shell.js'

let dir: string
beforeEach(() => {
  dir = scratch('package')
})
afterEach(() => discard(dir))

const REGISTRY_TRIES = 3

it('packs, installs outside the checkout, and mounts from there', { timeout: 300_000 }, async () => {
  // Without scripts: `prepare` would build dist anew under the tests that use it now.
  const packed = await run(['npm', 'pack', '--ignore-scripts', '--pack-destination', dir])
  expect(packed.status, packed.output).toBe(0)
  const tarball = fs.readdirSync(dir).find((name) => name.endsWith('.tgz'))

  const home = path.join(dir, 'project')
  fs.mkdirSync(home)
  fs.writeFileSync(path.join(home, 'package.json'), '{ "private": true, "type": "module" }\n')
  let installed = { status: -1 as number | string | null, output: '' }
  for (let i = 0; i < REGISTRY_TRIES && installed.status !== 0; i++) {
    installed = await run(
      ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', `../${tarball}`],
      { cwd: home, timeoutMs: 120_000 },
    )
  }
  expect(installed.status, installed.output).toBe(0)
  expect(fs.existsSync(path.join(home, 'node_modules/layerfs/src'))).toBe(false)

  const { version } = JSON.parse(fs.readFileSync(path.join(TOP, 'package.json'), 'utf8')) as {
    version: string
  }
  const used = await shell(
    `npx --no-install layerfs --version
     mkdir mnt
     npx --no-install layerfs mount --lower node_modules/layerfs/examples/layers/app --lower node_modules/layerfs/examples/layers/base --ephemeral mnt
     mnt/bin/greet
     ls mnt/etc
     npx --no-install layerfs umount mnt
     node -e "import('layerfs').then((library) => console.log(typeof library.mount))"`,
    { cwd: home },
  )
  expect(used.output).toContain(version)
  expect(used.output).toContain('Moin, world\napp.conf\n')
  expect(used.output).toMatch(/function\s*$/)
  expect(used.status, used.output).toBe(0)
})
