/** What runs on Linux only says so, before it loads what could only fail obscurely. */

import { LayerfsError } from './errors.js'

export const onLinux = (): boolean => process.platform === 'linux'

/** @throws LayerfsError UNSUPPORTED on any other system */
export function mustBeLinux(): void {
  if (!onLinux())
    throw new LayerfsError(
      'UNSUPPORTED',
      `layerfs mounts on Linux only, and this is ${process.platform}: there is layerfs/testing with fallback: 'copy'`,
    )
}
