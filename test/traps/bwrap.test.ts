import { traps } from './suite.js'

traps('bwrap')
