/** A mount and its end, as the daemon and `--foreground` run it. */
import { type Mount, mount } from '../mount.js'
import type { MountOptions } from '../options.js'
import { compileSoon } from './tiering.js'

/** What ends a mount. SIGHUP comes to `--foreground` when its terminal goes away. */
export const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/**
 * Mounts, and unmounts at SIGTERM or SIGINT: all that is pending is written first. A second signal detaches a mount
 * that is still in use, which goes away with its last user.
 * @returns once the mount is ready; `ended` settles when it is gone
 * @throws LayerfsError
 */
export async function serve(options: MountOptions): Promise<{ mounted: Mount; ended: Promise<void> }> {
  process.title = `layerfs ${options.mountpoint}`
  let mounted: Mount | undefined
  let signals = 0
  const leave = () => {
    mounted?.unmount({ lazy: signals > 1 }).catch((error: unknown) => {
      process.stderr.write(`layerfs: ${error instanceof Error ? error.message : String(error)}\n`)
    })
  }
  const onSignal = () => {
    signals++
    leave()
  }
  const ignore = () => {
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
  // From before the mount is there: a signal in between would leave a dead one.
  for (const signal of SIGNALS) process.on(signal, onSignal)
  try {
    mounted = await mount(options)
  } catch (error) {
    ignore()
    throw error
  }
  // Not before: to start takes longer where all that it runs is compiled.
  compileSoon()
  if (signals > 0) leave()
  return { mounted, ended: mounted.closed.finally(ignore) }
}
