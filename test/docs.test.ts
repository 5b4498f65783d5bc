import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const TOP = path.resolve(import.meta.dirname, '..')
const pages = ['README.md', ...fs.readdirSync(path.join(TOP, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md'),
)

describe.each(pages)('%s', (page) => {
  const text = fs.readFileSync(path.join(TOP, page), 'utf8')

  it('names only files that are there', () => {
    const named = [...text.matchAll(/`((?:src|test|docs|scripts|bin|examples)\/[\w./-]+)`/g)].map(
      (match) => match[1] ?? '',
    )
    expect(named.filter((file) => !fs.existsSync(path.join(TOP, file)))).toEqual([])
  })

  it('links only to pages that are there', () => {
    const linked = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '')
    expect(
      linked.filter((target) => !fs.existsSync(path.resolve(path.join(TOP, path.dirname(page)), target))),
    ).toEqual([])
  })
})
