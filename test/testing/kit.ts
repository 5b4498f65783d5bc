/** The testing library as built, and a fixture directory. */
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { scratch } from '../support/identity.js'
import { TOP } from '../support/shell.js'

export const TESTING = path.join(TOP, 'dist/testing/index.js')

export const testing = (): Promise<typeof import('../../src/testing/index.js')> =>
  import(pathToFileURL(TESTING).href)

/** A copy of the examples of this library in a new directory: what a program should not write there, it may. */
export function copyOfExamples(): string {
  const dir = scratch('examples')
  const wanted = (from: string): boolean => path.basename(from) !== 'node_modules'
  fs.cpSync(path.join(TOP, 'examples/testing'), dir, { recursive: true, filter: wanted })
  return dir
}

/** Makes a small tree of files. */
export function makeTree(dir: string): string {
  fs.mkdirSync(path.join(dir, 'posts'), { recursive: true })
  fs.writeFileSync(path.join(dir, 'index.html'), '<h1>Home</h1>\n')
  fs.writeFileSync(path.join(dir, 'posts/first.md'), '# First\n')
  fs.writeFileSync(path.join(dir, 'posts/second.md'), '# Second\n')
  return dir
}

/** Paths below `dir`, those of directories with a slash. */
export const namesIn = (dir: string): string[] =>
  fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .map((e) => path.relative(dir, path.join(e.parentPath, e.name)) + (e.isDirectory() ? '/' : ''))
    .sort()
