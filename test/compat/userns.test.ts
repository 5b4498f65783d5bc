import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../support/command.js'
import { command, environment } from '../support/identity.js'
import { type Stage, stage } from '../support/stage.js'
import { label, type System } from './mount.js'

const layerfs: System = { name: 'layerfs' }
const overlay: System = { name: 'overlay', options: ['userxattr'] }

let staged: Stage
let program: string
beforeAll(async () => {
  staged = stage()
  program = await staged.program(path.join(import.meta.dirname, 'namespace.ts'))
})
afterAll(() => staged?.remove())

describe('one upper in a user namespace', () => {
  for (const [writer, reader, apart] of [
    [layerfs, overlay, []],
    // In a user namespace overlayfs shows two numbers for two names of a file that was linked after copy-up.
    [overlay, layerfs, ['group']],
  ] as const)
    it(`written by ${label(writer)} shows the same tree under ${label(reader)}`, () => {
      const bin = path.join(staged.dir, 'bin/layerfs.js')
      const words = [staged.node, program, bin, JSON.stringify([writer, reader, apart])]
      const [file = '', ...args] = command('userns', words)
      const { code, stdout, stderr } = run(file, args, { cwd: '/', env: environment('userns') })
      expect([code, stderr]).toEqual([0, ''])
      const { files, found } = JSON.parse(stdout) as { files: number; found: string[] }
      expect(files).toBeGreaterThan(40)
      expect(found).toEqual([])
    })
})
