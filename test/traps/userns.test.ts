import { traps } from './suite.js'

traps('userns')
