#!/usr/bin/env node
import { main } from '../dist/bundle/layerfs.js'

await main(process.argv.slice(2))
