import { LAYOUTS } from './subjects.js'
import { conformance } from './suite.js'

/** What overlayfs.rst calls non-standard behaviour, and its defaults (`redirect_dir=off`, `index=off`). */
const COPY_UP = {
  'unlink: keeps a file open for reading alone': 'fchmod of a read-only descriptor acts on the lower inode',
  'unlink: leaves a file that /proc can open again': 'a lower file without a name is not copied up',
  'links: made before stay together through a write': 'a copy-up breaks lower hardlinks',
  'links: made before count down as names go': 'a lower inode keeps its link count',
  'rename: between two names of one file leaves both': 'a copy-up breaks lower hardlinks',
  'rename: of a prepared directory': 'EXDEV for directories of a lower',
  'mmap: shared by a reader opened before sees what a writer writes':
    'a read-only descriptor stays on the lower file',
  'holes: stay holes when a byte is written': 'copies what the host filesystem calls data',
}

for (const layout of LAYOUTS) {
  conformance({ as: 'root', layout, system: 'overlay', ...(layout === 'upper' ? {} : { except: COPY_UP }) })
}
