import { programs } from './programs.js'

programs('kernel')
