/** What is refused before anything is mounted, each with its code and one line that says what to do. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ErrorCode, LayerfsError } from '../../src/errors.js'
import { mountNative, type NativeOptions } from '../../src/native/index.js'
import type { Filesystem } from '../../src/vfs.js'
import { scratch } from '../support/identity.js'
import { mountsBelow } from '../support/mounts.js'

/** Nothing of it may be touched. */
const untouched = new Proxy({} as Filesystem, {
  get(_target, key) {
    throw new Error(`${String(key)} was called`)
  },
})

describe('mountNative refuses', () => {
  let dir: string
  beforeAll(() => {
    dir = scratch('refusal')
    fs.mkdirSync(path.join(dir, 'mnt'))
    fs.writeFileSync(path.join(dir, 'file'), '')
  })
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }))

  const refusal = async (options: Partial<NativeOptions>): Promise<[ErrorCode, string]> => {
    const all = { mountpoint: path.join(dir, 'mnt'), timeout: 1, kernelOptions: [], ...options }
    const error: unknown = await mountNative(untouched, all).then(
      () => undefined,
      (e: unknown) => e,
    )
    expect(mountsBelow(dir)).toEqual([])
    if (!(error instanceof LayerfsError)) throw new Error(`no LayerfsError but ${String(error)}`)
    expect(error.message).not.toContain('\n')
    return [error.code, error.message]
  }

  it('a worker thread, whose event loop the binding would take for the main one', async () => {
    const url = pathToFileURL(path.join(import.meta.dirname, '../../src/native/index.ts')).href
    const program = `
      import('tsx/esm/api')
        .then(({ tsImport }) => tsImport(${JSON.stringify(url)}, ${JSON.stringify(import.meta.url)}))
        .then(({ mountNative }) => mountNative({}, { mountpoint: '/', timeout: 1, kernelOptions: [] }))
        .catch((error) => require('node:worker_threads').parentPort.postMessage(error.code + ': ' + error.message))`
    const worker = new Worker(program, { eval: true })
    const said = await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the worker said nothing')))
    })
    await worker.terminate()
    expect(said).toMatch(/^UNSUPPORTED: .*main thread only/)
  })

  it('to start where the package is not installed', () => {
    const install = path.join(dir, 'install')
    const top = path.join(import.meta.dirname, '../..')
    fs.cpSync(path.join(top, 'dist'), path.join(install, 'dist'), { recursive: true })
    fs.copyFileSync(path.join(top, 'package.json'), path.join(install, 'package.json'))
    fs.mkdirSync(path.join(install, 'node_modules'))
    fs.symlinkSync(path.join(top, 'node_modules/lru-cache'), path.join(install, 'node_modules/lru-cache'))
    const program = `import('./dist/native/index.js')
      .then(({ mountNative }) => mountNative({}, { mountpoint: '/', timeout: 1, kernelOptions: [] }))
      .catch((error) => console.log(error.code + ': ' + error.message))`
    const { stdout } = spawnSync(process.execPath, ['-e', program], {
      cwd: install,
      encoding: 'utf8',
      timeout: 30_000,
    })
    expect(stdout).toMatch(
      /^UNSUPPORTED: the transport fuse-native cannot be loaded \(.*\): use the transport kernel/,
    )
  })

  it('a mountpoint that is not there', async () => {
    const [code, message] = await refusal({ mountpoint: path.join(dir, 'none') })
    expect(code).toBe('NO_SUCH_DIRECTORY')
    expect(message).toContain('create the directory first')
  })

  it('a mountpoint that is a file', async () => {
    expect((await refusal({ mountpoint: path.join(dir, 'file') }))[0]).toBe('NOT_A_DIRECTORY')
  })

  it('a mount option that libfuse 2 does not know', async () => {
    const [code, message] = await refusal({ kernelOptions: ['nodiratime'] })
    expect(code).toBe('UNSUPPORTED')
    expect(message).toContain('nodiratime: leave it out, or use the transport kernel')
  })

  it('options longer than the binding has room for', async () => {
    expect((await refusal({ fsname: 'x'.repeat(1100) }))[0]).toBe('UNSUPPORTED')
  })

  it('a mountpoint longer than the binding has room for', async () => {
    const deep = path.join(dir, ...Array.from({ length: 110 }, () => 'deep-down'))
    fs.mkdirSync(deep, { recursive: true })
    expect((await refusal({ mountpoint: deep }))[0]).toBe('UNSUPPORTED')
  })
})
