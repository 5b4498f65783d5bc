import { describe, expect, it } from 'vitest'
import { plainWords } from '../../src/cli/plain.js'

const FLAGS = { valued: ['lower', 'upper'], bare: ['json'], positionals: 'paths' }

describe('a plain command line', () => {
  it('is read as yargs would', () => {
    expect(plainWords(['--lower', 'a', '--lower', 'b', '--json', 'out'], FLAGS)).toEqual({
      lower: ['a', 'b'],
      json: true,
      paths: ['out'],
    })
  })

  it.each([
    [['--lower=a', 'out']],
    [['--lower']],
    [['--lower', '--json', 'out']],
    [['--help']],
    [['-h', 'out']],
    [['--', 'out']],
    [['--verify', 'out']],
    [[]],
  ])('leaves %j to yargs', (words) => {
    expect(plainWords(words, FLAGS)).toBe(undefined)
  })
})
