/** How soon V8 compiles the code that it runs. */
import { setFlagsFromString } from 'node:v8'

/**
 * By V8's major version. Version 11 is of Node 20, 12 of Node 22; later ones compile soon enough by themselves, and
 * earlier ones are none that we run on.
 */
const SOONER: Readonly<Record<string, readonly string[]>> = {
  11: ['--interrupt-budget=5000'],
  12: ['--invocation-count-for-maglev=100', '--invocation-count-for-turbofan=400'],
}

/**
 * Has V8 compile functions after a few hundred requests instead of a few thousand: a walk of a fresh mount is over by
 * then. It concerns the whole process, so only one that does nothing but serve a mount may ask for it.
 */
export function compileSoon(): void {
  const [major = ''] = process.versions.v8.split('.')
  for (const flag of SOONER[major] ?? []) setFlagsFromString(flag)
}
