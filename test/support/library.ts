/** The library as built: its session runs in a worker thread, which needs the compiled files. */
import path from 'node:path'
import { pathToFileURL } from 'node:url'

export const LIBRARY = path.resolve(import.meta.dirname, '../../dist/index.js')

export const library = (): Promise<typeof import('../../src/index.js')> => import(pathToFileURL(LIBRARY).href)
