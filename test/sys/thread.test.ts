import { afterEach, expect, it } from 'vitest'
import { affinity, bindToProcessor, gettid, ProcessorLook, setAffinity } from '../../src/sys/thread.js'

const look = new ProcessorLook()
const before = affinity()

afterEach(() => {
  look.close()
  setAffinity(before)
})

/** The processors of a mask, lowest first. */
const processors = (mask: Buffer): number[] =>
  Array.from({ length: mask.length * 8 }, (_, i) => i).filter((i) => ((mask[i >> 3] ?? 0) >> (i & 7)) & 1)

it('tells where a thread runs, look after look', () => {
  for (const processor of processors(before)) {
    expect(bindToProcessor(processor)).toBe(0)
    expect(look.of(gettid())).toBe(processor)
  }
})

it('tells of a thread that is gone, and then of others', () => {
  expect(look.of(0x3fffffff)).toBe(-1)
  expect(look.of(gettid())).toBeGreaterThanOrEqual(0)
  expect(look.of(1)).toBeGreaterThanOrEqual(0)
})
