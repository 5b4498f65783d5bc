#!/usr/bin/env node
if (process.env.LAYERFS_LAUNCHER !== undefined) await import('../dist/bundle/early.js')
const { main } = await import('../dist/bundle/layerfs.js')

await main(process.argv.slice(2))
