import { traps } from './suite.js'

traps('root')
