/**
 * A mount served by this process's only thread, so that `node --cpu-prof` sees the session: `serve.ts OPTIONS-AS-JSON`.
 * Ends with the mount. What is built is served, since tsx leaves functions without names.
 */
import { join } from 'node:path'
import type { MountInput } from '../../src/options.js'

const built = (module: string): Promise<unknown> => import(join(import.meta.dirname, '../../dist', module))
const { compose } = (await built('engine.js')) as typeof import('../../src/engine.js')
const { cachingFor, isReadOnly, isUnchecked } = (await built(
  'compose.js',
)) as typeof import('../../src/compose.js')
const { FuseDevice } = (await built('fuse/device.js')) as typeof import('../../src/fuse/device.js')
const { attach } = (await built('fuse/mount.js')) as typeof import('../../src/fuse/mount.js')
const { Notify } = (await built('fuse/notify.js')) as typeof import('../../src/fuse/notify.js')
const { Session } = (await built('fuse/session.js')) as typeof import('../../src/fuse/session.js')
const { withDefaults } = (await built('options.js')) as typeof import('../../src/options.js')
const { writeFd } = (await built('sys/device.js')) as typeof import('../../src/sys/device.js')
const { umask } = (await built('sys/name.js')) as typeof import('../../src/sys/name.js')

umask(0)
const options = withDefaults(JSON.parse(process.argv[2] ?? '') as MountInput)
const caching = cachingFor(options)
const unchecked = isUnchecked(options)
const fs = compose(options, caching)
const { fd } = attach({ ...options, readOnly: isReadOnly(options), unchecked })
const send = (message: Buffer): number => writeFd(fd, message, message.length)
fs.attach?.(new Notify(send, send))
const session = new Session(fs, new FuseDevice(fd, options.wake), {
  ...caching,
  timeout: options.timeout,
  unchecked,
  debug: false,
  log: (line) => process.stderr.write(`${line}\n`),
})
session.init()
process.stdout.write('ready\n')
session.run()
fs.destroy()
