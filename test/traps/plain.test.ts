import { traps } from './suite.js'

traps('plain')
