import { beforeEach, describe, expect, it } from 'vitest'
import { EILSEQ, ENOENT, S_IFDIR, S_IFREG } from '../../src/abi/linux.js'
import { Walk, type Walkable } from '../../src/native/walk.js'
import { type Caller, Entry, type Name, type NodeId, type Result, ROOT } from '../../src/vfs.js'

const ME: Caller = { uid: 0, gid: 0, pid: 0, umask: 0 }

/** A tree of names that counts what it is asked and what it would have to remember. */
class Tree implements Walkable {
  readonly #children = new Map<NodeId, Map<Name, NodeId>>([[ROOT, new Map()]])
  readonly lookups = new Map<NodeId, number>()
  asked = 0
  most = 0
  #last = ROOT

  add(parent: NodeId, name: Name, directory = false): NodeId {
    const node = ++this.#last
    this.#children.get(parent)?.set(name, node)
    if (directory) this.#children.set(node, new Map())
    return node
  }

  remove(parent: NodeId, name: Name): void {
    this.#children.get(parent)?.delete(name)
  }

  lookup(_caller: Caller, parent: NodeId, name: Name, out: Entry): Result {
    this.asked++
    if (parent !== ROOT)
      expect(this.lookups.get(parent), 'looks in a node it has forgotten').toBeGreaterThan(0)
    const node = this.#children.get(parent)?.get(name)
    if (node === undefined) return -ENOENT
    this.#count(node, 1)
    out.node = node
    out.attr.mode = this.#children.has(node) ? S_IFDIR : S_IFREG
    return 0
  }

  forget(node: NodeId, count: number): void {
    this.#count(node, -count)
  }

  #count(node: NodeId, by: number): void {
    const count = (this.lookups.get(node) ?? 0) + by
    expect(count, 'forgets more than was looked up').toBeGreaterThanOrEqual(0)
    if (count === 0) this.lookups.delete(node)
    else this.lookups.set(node, count)
    this.most = Math.max(this.most, this.lookups.size)
  }
}

describe('Walk', () => {
  let tree: Tree
  let walk: Walk
  let dir: NodeId
  let file: NodeId

  beforeEach(() => {
    tree = new Tree()
    dir = tree.add(ROOT, 'dir', true)
    file = tree.add(dir, 'file')
    walk = new Walk(tree, ME, 0)
  })

  it('finds the root without asking', () => {
    expect(walk.resolve('/')).toBe(ROOT)
    expect(tree.asked).toBe(0)
  })

  it('walks from the deepest name it knows', () => {
    expect(walk.resolve('/dir')).toBe(dir)
    expect(walk.resolve('/dir/file')).toBe(file)
    expect(tree.asked).toBe(2)
    expect(walk.resolve('/dir/file')).toBe(file)
    expect(tree.asked).toBe(2)
  })

  it('asks again for what was not there', () => {
    expect(walk.resolve('/dir/new/deep')).toBe(-ENOENT)
    const made = tree.add(dir, 'new', true)
    expect(walk.resolve('/dir/new')).toBe(made)
  })

  it('hands names on as bytes', () => {
    const node = tree.add(dir, 'n\xc3\xa4m')
    expect(walk.resolve('/dir/näm')).toBe(node)
  })

  it('refuses names that the binding has damaged', () => {
    expect(walk.resolve('/dir/\ufffd')).toBe(-EILSEQ)
  })

  it('finds what stands under a name now after the old one is gone', () => {
    walk.resolve('/dir/file')
    tree.remove(dir, 'file')
    walk.removed('/dir/file')
    expect(walk.resolve('/dir/file')).toBe(-ENOENT)
    const again = tree.add(dir, 'file')
    expect(walk.resolve('/dir/file')).toBe(again)
  })

  it('forgets all names beneath a directory that has moved', () => {
    walk.resolve('/dir/file')
    tree.remove(ROOT, 'dir')
    const other = tree.add(ROOT, 'dir', true)
    walk.moved('/dir', '/else')
    expect(walk.resolve('/dir/file')).toBe(-ENOENT)
    expect(walk.resolve('/dir')).toBe(other)
  })

  it('leaves names alone that only begin alike', () => {
    const twin = tree.add(ROOT, 'dir2', true)
    walk.resolve('/dir')
    walk.resolve('/dir2')
    walk.moved('/dir', '/else')
    const before = tree.asked
    expect(walk.resolve('/dir2')).toBe(twin)
    expect(tree.asked).toBe(before)
  })

  it('gives every lookup back in the end', () => {
    walk.resolve('/dir/file')
    walk.hold(file)
    walk.hide('/dir/.hidden', file)
    walk.removed('/dir/file')
    walk.settle()
    expect(tree.lookups.get(file)).toBe(1)
    walk.release(file)
    walk.clear()
    expect(tree.lookups.size).toBe(0)
    expect(walk.nodes).toBe(0)
  })

  it('gives back as many lookups as it was given for one node', () => {
    walk.resolve('/dir/file')
    const entry = new Entry()
    tree.lookup(ME, dir, 'file', entry)
    walk.adopt('/dir/file', entry)
    tree.lookup(ME, dir, 'file', entry)
    walk.adopt('/dir/other', entry)
    expect(tree.lookups.get(file)).toBe(3)
    walk.removed('/dir/file')
    walk.settle()
    expect(tree.lookups.get(file)).toBe(3)
    walk.removed('/dir/other')
    walk.settle()
    expect(tree.lookups.has(file)).toBe(false)
  })

  it('keeps an open file whose name is gone', () => {
    walk.resolve('/dir/file')
    walk.hold(file)
    walk.removed('/dir/file')
    walk.settle()
    expect(tree.lookups.get(file)).toBe(1)
    walk.release(file)
    walk.settle()
    expect(tree.lookups.has(file)).toBe(false)
  })

  it('answers for a hidden file until it is released, and through a move of its directory', () => {
    walk.resolve('/dir/file')
    walk.hide('/dir/.hidden', file)
    tree.remove(dir, 'file')
    walk.removed('/dir/file')
    walk.settle()
    expect(walk.resolve('/dir/.hidden')).toBe(file)
    expect(walk.hides('/dir')).toBe(true)
    expect(walk.hides('/di')).toBe(false)
    walk.moved('/dir', '/new')
    expect(walk.resolve('/new/.hidden')).toBe(file)
    expect(walk.unhide('/new/.hidden')).toBe(true)
    expect(walk.unhide('/new/.hidden')).toBe(false)
    walk.settle()
    expect(tree.lookups.has(file)).toBe(false)
  })

  it('keeps as many nodes as its budget has room for, however many are walked', () => {
    const budget = 20_000
    const small = new Walk(tree, ME, 0, budget)
    for (let i = 0; i < 5000; i++) tree.add(dir, `f${i}`)
    for (let i = 0; i < 5000; i++) {
      small.resolve(`/dir/f${i}`)
      small.settle()
    }
    expect(tree.most).toBeLessThan(budget / 500)
    expect(small.nodes).toBeLessThan(budget / 500)
    small.clear()
    expect(tree.lookups.size).toBe(0)
  })

  it('keeps every node of one request, however small its budget', () => {
    const tiny = new Walk(tree, ME, 0, 800)
    let parent = ROOT
    let path = ''
    for (let depth = 0; depth < 50; depth++) {
      parent = tree.add(parent, `d${depth}`, true)
      path += `/d${depth}`
    }
    expect(tiny.resolve(path)).toBe(parent)
    const other = tiny.resolve('/dir/file')
    expect(tree.lookups.get(parent)).toBe(1)
    expect(tree.lookups.get(other)).toBe(1)
    tiny.settle()
    expect(tree.lookups.size).toBe(1)
  })
})
