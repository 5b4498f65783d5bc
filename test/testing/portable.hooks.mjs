/**
 * Module hooks (node:module register): `vitest` is a stand-in that hands out what it is given, and with `darwin` every
 * attempt to load koffi fails.
 */
let darwin = false

export function initialize(data) {
  darwin = data.darwin
}

const VITEST = `
  export const given = {}
  export const expect = { extend: (matchers) => { given.matchers = matchers } }
  export const test = { extend: (fixtures) => { given.fixtures = fixtures } }`

export const resolve = async (specifier, context, next) =>
  specifier === 'vitest'
    ? { url: `data:text/javascript,${encodeURIComponent(VITEST)}`, shortCircuit: true }
    : next(specifier, context)

// When it is evaluated, not before: what imports it may have failed by then.
export const load = async (url, context, next) =>
  darwin && url.includes('/node_modules/koffi/')
    ? {
        format: 'module',
        source: `export default undefined; throw new Error('koffi was loaded')`,
        shortCircuit: true,
      }
    : next(url, context)
