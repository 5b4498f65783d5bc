import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { makeRoomForDescriptors, openFileLimit } from '../../src/sys/limit.js'

/** For how many descriptors the kernel has made room in this process (proc_pid_status(5)). */
const room = (): number => Number(readFileSync('/proc/self/status', 'latin1').match(/^FDSize:\s+(\d+)/m)?.[1])

it('makes room for all descriptors that directories may take', async () => {
  await makeRoomForDescriptors()
  expect(room()).toBeGreaterThanOrEqual(Math.min(16384, openFileLimit()))
})
