#!/usr/bin/env node
import { main } from '../dist/compat/helper.js'

await main(process.argv.slice(2))
