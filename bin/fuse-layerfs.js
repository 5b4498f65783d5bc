#!/usr/bin/env node
import { main } from '../dist/compat/main.js'

await main(process.argv.slice(2))
