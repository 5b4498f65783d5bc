import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { layerfs } from '../support/command.js'
import { scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'

let dir: string
const at = (name: string): string => path.join(dir, name)
beforeEach(() => {
  dir = scratch('held')
  for (const name of ['lower', 'upper', 'work', 'mnt']) fs.mkdirSync(at(name))
})
afterEach(() => discard(dir))

const mount = () =>
  layerfs(['mount', '--lower', at('lower'), '--upper', at('upper'), '--work', at('work'), at('mnt')])

describe('layerfs umount', () => {
  it('ends the daemon though another mount namespace holds a copy of the mount, and its upper is free', async () => {
    expect(mount()).toMatchObject({ code: 0, stderr: '' })
    fs.writeFileSync(path.join(at('mnt'), 'file'), 'content')
    const holder = spawn('unshare', ['--mount', 'sh', '-c', 'echo ready; exec sleep 120'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    try {
      await once(holder.stdout, 'data')
      expect(layerfs(['umount', at('mnt')])).toMatchObject({ code: 0, stderr: '' })
      expect(fs.readFileSync(path.join(at('upper'), 'file'), 'utf8')).toBe('content')
      expect(mount()).toMatchObject({ code: 0, stderr: '' })
      expect(fs.readFileSync(path.join(at('mnt'), 'file'), 'utf8')).toBe('content')
      expect(layerfs(['umount', at('mnt')])).toMatchObject({ code: 0, stderr: '' })
    } finally {
      holder.kill('SIGKILL')
    }
  })
})
