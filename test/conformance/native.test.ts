/** The suite over the binding fuse-native: what it cannot carry fails for the reasons that docs/transports.md gives. */
import { LIMITS, type Limit } from '../../src/native/limits.js'
import { exceptions, LAYOUTS } from './subjects.js'
import { conformance } from './suite.js'

const reasons = (limits: Record<string, Limit>): Record<string, string> =>
  Object.fromEntries(Object.entries(limits).map(([name, limit]) => [name, LIMITS[limit]]))

const ALL = reasons({
  'readdir: from just before where an entry stands finds entries': 'seeking',
  'directories: removed while they are the cwd give ENOENT for new names': 'removed-directories',
  'directories: of a removed lower directory as cwd are empty too': 'removed-directories',
  'rename NOREPLACE: moves to a free name': 'rename-flags',
  'rename NOREPLACE: moves to a name just removed': 'rename-flags',
  'rename EXCHANGE: swaps two files': 'rename-flags',
  'rename EXCHANGE: swaps a file and a directory made now': 'rename-flags',
  'special files: change mode, owner and times without being opened': 'nanoseconds',
  'times: keep nanoseconds': 'nanoseconds',
  'times: prepared with nanoseconds are shown': 'nanoseconds',
  'times: left out with UTIME_OMIT stay': 'single-times',
  'times: before 1970 and after 2038 are kept': 'nanoseconds',
  'times: are set through a descriptor': 'nanoseconds',
  'times: of a directory are kept when a child changes only itself': 'nanoseconds',
  'ACLs: by default rule what is made, in place of the umask': 'umask',
  'names: are bytes': 'byte-names',
  'O_TMPFILE: has no name until it is linked': 'tmpfile',
  'O_TMPFILE: in a prepared directory is linked over a removed name': 'tmpfile',
  'O_TMPFILE: left unlinked leaves nothing': 'tmpfile',
  'fallocate: grows the file, or keeps its size': 'fallocate',
  'fallocate: punches holes': 'fallocate',
  'fallocate: zeroes ranges': 'fallocate',
  'flags: of a file and a directory are shown and changed, and the data stays': 'file-flags',
  'holes: are found by SEEK_HOLE and SEEK_DATA': 'holes',
  'statx and statfs: birth time is of the file': 'birth-times',
})

const ROOT_ONLY = reasons({
  'owners: are the maker and its group': 'caller-ids',
  'setgid directories: give their group, and the bit to subdirectories': 'caller-ids',
  'ACLs: grant and deny': 'acls',
  'flags: keep an immutable file and what an immutable directory holds as they are': 'file-flags',
  'flags: that change move the ctime': 'file-flags',
  'flags: let an append-only file grow': 'file-flags',
  'set-id bits: of a file that its group may not execute: set-group-id goes when somebody outside the group changes data':
    'caller-ids',
  'ACLs: set by who is not in the group drop setgid': 'acls',
  'fallocate: by another than root takes set-id bits': 'fallocate',
})

const USERNS_ONLY = reasons({
  'ACLs: are given back and show in the mode': 'acls',
  'ACLs: prepared survive a write': 'acls',
  'ACLs: that a mode can say become the mode': 'acls',
  'ACLs: have their mask set by chmod': 'acls',
  'ACLs: are removed': 'acls',
  'ACLs: by default with named users are handed down': 'acls',
})

const options = { transport: 'fuse-native' } as const

for (const layout of LAYOUTS) {
  conformance({
    as: 'root',
    layout,
    options,
    except: { ...exceptions('root', layout), ...ALL, ...ROOT_ONLY },
  })
}
conformance({ as: 'plain', layout: 'lower', options, except: { ...exceptions('plain', 'lower'), ...ALL } })
conformance({
  as: 'userns',
  layout: 'lower',
  options,
  except: { ...exceptions('userns', 'lower'), ...ALL, ...USERNS_ONLY },
})
