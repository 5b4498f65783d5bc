/** Mounts what it is told to, a JSON line each on stdin, and answers each with a line: `server LIBRARY`. */
import { createInterface } from 'node:readline'
import type * as library from '../../src/index.js'
import type { MountInput } from '../../src/options.js'

export type Request = { mount: MountInput } | { unmount: string }
export interface Answer {
  code?: string
  error?: string
}

const { mount } = (await import(process.argv[2] ?? '')) as typeof library
const mounts = new Map<string, library.Mount>()
process.umask(0o022)

async function serve(request: Request): Promise<void> {
  if ('mount' in request) mounts.set(request.mount.mountpoint ?? '', await mount(request.mount))
  else {
    await mounts.get(request.unmount)?.unmount()
    mounts.delete(request.unmount)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer: Answer = {}
  try {
    await serve(JSON.parse(line) as Request)
  } catch (error) {
    answer.error = error instanceof Error ? error.message : String(error)
    if (error instanceof Error && 'code' in error) answer.code = String(error.code)
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
for (const one of mounts.values()) await one.unmount({ lazy: true })
process.exit(0)
