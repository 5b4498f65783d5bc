import { exceptions, LAYOUTS } from './subjects.js'
import { conformance } from './suite.js'

for (const layout of LAYOUTS) conformance({ as: 'bwrap', layout, except: exceptions('bwrap', layout) })
