/**
 * Loads scripts of the bundle with the code that V8 made of them when they were built (scripts/bundle.ts): compiling one
 * takes as long as making a mount. What another version of V8 has made it refuses, and compiles anew.
 */
import { readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { Script } from 'node:vm'

export interface Loaded {
  script: Script
  exports: unknown
}

/** Where the code of a script is kept. */
export const cacheOf = (path: string): string => `${path}.cache`

/** Runs a CommonJS script. @param path absolute; its name changes with its text, which V8 does not compare */
export function load(path: string): Loaded {
  const cachedData = kept(cacheOf(path))
  const script = new Script(Module.wrap(readFileSync(path, 'utf8')), {
    filename: path,
    ...(cachedData === undefined ? {} : { cachedData }),
  })
  const module = { exports: {} as unknown }
  script
    .runInThisContext()
    .call(module.exports, module.exports, createRequire(path), module, path, dirname(path))
  return { script, exports: module.exports }
}

function kept(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    // A package laid out without it only starts later.
    return undefined
  }
}
