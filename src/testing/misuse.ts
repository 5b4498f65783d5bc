/** Misuse of a fixture that every kind of fixture refuses alike. */

import { existsSync } from 'node:fs'
import { LayerfsError } from '../errors.js'
import type { Snapshot } from './fixture.js'

/** @throws LayerfsError USAGE where the fixture that took the snapshot is gone */
export function mustBeKept({ path }: Snapshot): void {
  if (!existsSync(path))
    throw new LayerfsError(
      'USAGE',
      `the snapshot ${path} is gone: it lives as long as the fixture that took it`,
    )
}

/** @throws LayerfsError ALREADY_EXISTS */
export function mustBeNew(dir: string): void {
  if (existsSync(dir))
    throw new LayerfsError('ALREADY_EXISTS', `${dir} exists: choose another name`, { path: dir })
}
