/** The library as built: its session runs in a worker thread, which needs the compiled files. */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { MountInput } from '../../src/index.js'

export const LIBRARY = path.resolve(import.meta.dirname, '../../dist/index.js')

export const library = (): Promise<typeof import('../../src/index.js')> => import(pathToFileURL(LIBRARY).href)

/** The layers `lower` and `upper` of a scratch directory, with their `work`, to be mounted by the kernel transport on its `mnt`. */
export const stackIn = (base: string): MountInput => ({
  lower: [path.join(base, 'lower')],
  upper: path.join(base, 'upper'),
  work: path.join(base, 'work'),
  mountpoint: path.join(base, 'mnt'),
  transport: 'kernel',
})
