import type { Trap } from '../trap.js'
import { files } from './files.js'
import { ids } from './ids.js'
import { layers } from './layers.js'
import { names } from './names.js'

const number = (name: string): number => Number.parseInt(name, 10)

/** All traps by name, in the order of their numbers. */
export const TRAPS: ReadonlyMap<string, Trap> = new Map(
  [names, files, ids, layers]
    .flatMap((some) => Object.entries(some))
    .sort(([a], [b]) => number(a) - number(b))
    .map(([name, it]): [string, Trap] => [name, typeof it === 'function' ? { run: it } : it]),
)
