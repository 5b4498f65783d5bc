/**
 * A program that serves a stack over fuse-native: `server JSON`. It says `ready` once mounted, unmounts on SIGTERM, says
 * what was refused, ends at once on SIGUSR2, and by itself when the mount has.
 */
import { LayerfsError } from '../../src/errors.js'
import { mount } from '../../src/mount.js'
import type { MountInput } from '../../src/options.js'

const options = JSON.parse(process.argv[2] ?? '') as MountInput
const mounted = await mount({ ...options, transport: 'fuse-native' })
const unmount = (lazy: boolean): void => {
  mounted.unmount({ lazy }).catch((error: unknown) => {
    console.log(error instanceof LayerfsError ? `${error.code}: ${error.message}` : String(error))
  })
}
process.on('SIGTERM', () => unmount(false))
process.on('SIGHUP', () => unmount(true))
process.on('SIGUSR2', () => process.exit(0))
console.log('ready')
await mounted.closed
console.log(`closed ${JSON.stringify(mounted.stats())}`)
