/** Imported first by what loads libc at once: elsewhere the import fails with one clear line. */

import { mustBeLinux } from './platform.js'

mustBeLinux()
