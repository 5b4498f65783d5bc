/** Data copied in pieces, as long as nobody waits: the rest is somebody else's. */

import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { copyData, copyWhile } from '../../src/union/copydata.js'

describe('a large copy', () => {
  const SIZE = 20_000_003
  const data = Buffer.alloc(SIZE, 'union filesystem ')
  let dir: string
  let from: number
  let to: number

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'layerfs-copydata-'))
    writeFileSync(join(dir, 'from'), data)
    from = openSync(join(dir, 'from'), 'r')
    to = openSync(join(dir, 'to'), 'wx+')
  })
  afterEach(() => {
    closeSync(from)
    closeSync(to)
    rmSync(dir, { recursive: true })
  })

  const copied = (): Buffer => readFileSync(join(dir, 'to'))

  it('stops after a piece when somebody waits, and is finished elsewhere', () => {
    let looks = 0
    const end = copyWhile(() => looks++ === 0, from, to, SIZE)
    // Where the filesystem shares extents, there is nothing to stop.
    expect(end === SIZE || (end > 0 && end < SIZE / 2)).toBe(true)
    expect(copied().equals(data.subarray(0, end))).toBe(true)
    if (end < SIZE) expect(copyData(from, to, SIZE, true, end)).toBe(0)
    expect(copied().equals(data)).toBe(true)
  })

  it('does nothing where somebody waits already', () => {
    const end = copyWhile(() => false, from, to, SIZE)
    expect([0, SIZE]).toContain(end)
    expect(copied().length).toBe(end)
  })

  it('ends where its source does, if that is shorter than it was', () => {
    let at = copyWhile(() => true, from, to, SIZE + 9_000_000)
    if (at < SIZE + 9_000_000) at = copyData(from, to, SIZE + 9_000_000, true, at)
    expect(copied().equals(data)).toBe(true)
  })
})
