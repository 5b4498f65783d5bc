/** `node --import` this: with PRETEND=darwin the process takes itself for one on macOS, and can load no native code. */
import { register } from 'node:module'

const darwin = process.env.PRETEND === 'darwin'
register('./portable.hooks.mjs', import.meta.url, { data: { darwin } })
if (darwin) {
  Object.defineProperty(process, 'platform', { value: 'darwin' })
  process.dlopen = (_, file) => {
    throw new Error(`native code was loaded: ${file}`)
  }
}
