/**
 * A program that serves a stack over fuse-native: `server JSON`. It says `ready` once mounted, unmounts on SIGTERM, says
 * what was refused, and ends by itself when the mount has.
 */
import { LayerfsError } from '../../src/errors.js'
import { mountNative } from '../../src/native/index.js'
import { type MountInput, withDefaults } from '../../src/options.js'
import { createUnion } from '../../src/union/union.js'

const options = withDefaults(JSON.parse(process.argv[2] ?? '') as MountInput)
const mount = await mountNative(createUnion(options, { writeback: false, passthrough: false }), options)
process.on('SIGTERM', () => {
  mount.unmount().catch((error: unknown) => {
    console.log(error instanceof LayerfsError ? `${error.code}: ${error.message}` : String(error))
  })
})
console.log('ready')
await mount.closed
console.log('closed')
