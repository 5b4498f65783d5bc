import { conformance } from './suite.js'

// The control: what no filesystem of ours is behind must pass, or the case is wrong.
conformance({ as: 'root', layout: 'directory' })
conformance({ as: 'plain', layout: 'directory' })
conformance({ as: 'userns', layout: 'directory' })
