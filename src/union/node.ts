/** Files and directories that the kernel knows: what each shows, where it stands, and who refers to it. */

import { S_IFDIR, S_IFMT, S_IFREG } from '../abi/linux.js'
import { close } from '../sys/file.js'
import { type Attr, type JobId, type Name, type NodeId, ROOT } from '../vfs.js'
import type { Handle } from './handles.js'
import type { Listing } from './listing.js'
import type { Loc } from './loc.js'
import type { Lent } from './shadow.js'

/** A name of a node: hard links have several. */
export interface Link {
  parent: Dir
  name: Name
  /** The directory in a layer that holds this name. */
  container: Loc
}

/** Where a file stands in the index of the workdir. */
export interface IndexEntry {
  loc: Loc
  name: Name
}

/** The time of the last change of an open file, as the kernel has it where it keeps written data. */
export class Stamp {
  /** Data has come since, so that the file on disk has a later time. */
  late = false

  constructor(
    public mtime: number,
    public mtimeNs: number,
  ) {}
}

/** A copy-up whose data a helper thread is copying. */
export interface Copying {
  job: JobId
  temporary: Name
  from: number
  to: number
}

/** One file of the union, of any type. */
export class Node {
  lookups = 0
  generation = 0
  /** First known name; undefined once the last known name is gone. */
  parent: Dir | undefined
  name: Name = ''
  /** The directory in a layer that holds it under `name`. */
  container: Loc
  /** Further known names in the union, of a file with several links. */
  more: Link[] | undefined
  /** Shown inode number. */
  ino = 0
  /** S_IFMT bits. */
  readonly type: number
  /** Links that lower layers still show of a file that has moved to the upper. */
  extraLinks = 0
  /** A file of the upper whose data still lives below (metacopy); undefined: not yet asked. */
  dataBelow: boolean | undefined
  copying: Copying | undefined
  /** Whether it has no xattr that users see: asked once, since most files have none and `ls` asks for two of each. */
  bare: boolean | undefined
  /** Its entry in the index of lower files with several links: there it stands, whether or not the upper has a name of it. */
  indexed: IndexEntry | undefined
  /** Key in the table of files with several links, while registered there. */
  linkKeys: string[] | undefined
  /** Open handles, oldest first. */
  handles: Handle[] | undefined
  /** It has been opened: the kernel has been given its pages, if it was small then, or has been able to read them. */
  opened: 'small' | 'large' | undefined
  /** While the kernel reads and writes it by way of its file in a lower, for those who opened that. */
  lent: Lent | undefined
  /** While open, where known or data has come late. */
  stamp: Stamp | undefined
  /** A descriptor of a file that has no name left, or -1. It may be O_PATH or for reading alone. */
  anchor = -1
  /** Last attributes of a file that lost its last name while nobody had it open. */
  epitaph: Attr | undefined

  constructor(
    readonly id: NodeId,
    type: number,
    container: Loc,
  ) {
    this.type = type & S_IFMT
    this.container = container
  }

  get isRegular(): boolean {
    return this.type === S_IFREG
  }

  /** Whether it lives in the upper already. */
  get inUpper(): boolean {
    return this.indexed !== undefined || this.container.layer.writable
  }

  /** The directory in which it is found on disk, by `homeName`. */
  get home(): Loc {
    return this.indexed?.loc ?? this.container
  }

  get homeName(): Name {
    return this.indexed?.name ?? this.name
  }

  /** Whether nothing on disk leads to it: only descriptors do. */
  get adrift(): boolean {
    return this.parent === undefined && this.indexed === undefined
  }

  /** The descriptor that leads to a node which is adrift, or -1. */
  get lifeline(): number {
    const open = this.handles?.find(({ fd }) => fd >= 0)?.fd ?? this.anchor
    // Whoever had it open may close it while a helper thread copies it.
    return open >= 0 ? open : (this.copying?.from ?? this.lent?.fd ?? -1)
  }

  /** Whether no name leads to it any more. */
  get orphan(): boolean {
    return this.parent === undefined && this.id !== ROOT
  }
}

/** A directory: the merge of `locs`, topmost first. */
export class Dir extends Node {
  children: Map<Name, Node> | undefined
  /** The merged listing, while cached. */
  listing: Listing | undefined
  /** It has had a listing. */
  listed = false
  /** The default ACL new files inherit, as on disk; null: none; undefined: not yet asked. */
  defaultAcl: Buffer | null | undefined
  /** How many lookups in it have gone to the layers since it had a listing. */
  asked = 0
  /** It has been removed: it is empty, and nothing can be made in it. */
  removed = false

  constructor(
    id: NodeId,
    container: Loc,
    public locs: Loc[],
  ) {
    super(id, S_IFDIR, container)
  }

  override get inUpper(): boolean {
    return (this.locs[0] as Loc).layer.writable
  }

  /** Its directory in the upper. Call only when `inUpper`. */
  get upperLoc(): Loc {
    return this.locs[0] as Loc
  }

  /** The layers beneath the upper that show in it. */
  get hasLower(): boolean {
    return this.inUpper ? this.locs.length > 1 : true
  }

  get merged(): boolean {
    return this.locs.length > 1
  }
}

/** All live nodes by id, and the files with several links by their place on disk. */
export class NodeTable {
  private readonly slots: (Node | undefined)[] = [undefined]
  private readonly free: NodeId[] = []
  private readonly generations: number[] = [0]
  private readonly links = new Map<string, Node>()
  /** How many names of a lower file with several links are hidden: it has lost them, though they stand below. */
  private readonly hidden = new Map<string, number>()
  live = 0

  get(id: NodeId): Node | undefined {
    return this.slots[id]
  }

  /** An unused id for a node that `put` will enter. */
  nextId(): NodeId {
    return this.free.pop() ?? this.slots.push(undefined) - 1
  }

  put(node: Node): void {
    const generation = (this.generations[node.id] ?? 0) + 1
    this.generations[node.id] = generation
    node.generation = generation
    this.slots[node.id] = node
    this.live++
  }

  remove(node: Node): void {
    this.slots[node.id] = undefined
    this.free.push(node.id)
    this.live--
    this.forgetLinks(node)
  }

  /** A name that a lower file has below is hidden from now on. */
  hideLink(node: Node): void {
    node.extraLinks--
    const key = node.linkKeys?.[0]
    if (key !== undefined) this.hidden.set(key, (this.hidden.get(key) ?? 0) + 1)
  }

  hiddenLinks(dev: number, ino: number): number {
    return this.hidden.get(linkKey(dev, ino)) ?? 0
  }

  /** Nothing is hidden any more. */
  showAll(): void {
    this.hidden.clear()
    for (const node of this) if (!node.inUpper) node.extraLinks = 0
  }

  /** The node stands no longer for its place on disk. */
  forgetLinks(node: Node): void {
    for (const key of node.linkKeys ?? []) this.links.delete(key)
    node.linkKeys = undefined
  }

  /** The node of a file with several links, by device and number on disk. */
  byLink(dev: number, ino: number): Node | undefined {
    return this.links.get(linkKey(dev, ino))
  }

  registerLink(node: Node, dev: number, ino: number): void {
    const key = linkKey(dev, ino)
    if (this.links.get(key) === node) return
    this.links.set(key, node)
    node.linkKeys ??= []
    node.linkKeys.push(key)
  }

  *[Symbol.iterator](): Generator<Node> {
    for (const node of this.slots) if (node !== undefined) yield node
  }
}

const linkKey = (dev: number, ino: number): string => `${dev}:${ino}`

/** Enters a known name of a node: into its parent's children, and as the node's first name or a further one. */
export function addName(node: Node, parent: Dir, name: Name, container: Loc): void {
  parent.children ??= new Map()
  parent.children.set(name, node)
  if (node.parent === undefined) {
    letGo(node)
    node.parent = parent
    node.name = name
    node.container = container
  } else {
    node.more ??= []
    node.more.push({ parent, name, container })
  }
}

/** Closes the descriptor by which a file without a name was kept. */
export function letGo(node: Node): void {
  if (node.anchor >= 0) close(node.anchor)
  node.anchor = -1
}

/** The directory in a layer that holds a known name of a node. */
export function containerOf(node: Node, parent: Dir, name: Name): Loc | undefined {
  if (node.parent === parent && node.name === name) return node.container
  return node.more?.find((link) => link.parent === parent && link.name === name)?.container
}

/** Makes a known name of a node the first. */
export function putFirst(node: Node, parent: Dir, name: Name): void {
  const link = node.more?.find((l) => l.parent === parent && l.name === name)
  if (link === undefined || node.parent === undefined) return
  const first = { parent: node.parent, name: node.name, container: node.container }
  Object.assign(node, link)
  Object.assign(link, first)
}

/** Forgets a known name of a node; another known one takes its place as the first. */
export function removeName(node: Node, parent: Dir, name: Name): void {
  if (parent.children?.get(name) === node) parent.children.delete(name)
  if (node.parent === parent && node.name === name) {
    const next = node.more?.shift()
    if (node.more?.length === 0) node.more = undefined
    node.parent = next?.parent
    if (next !== undefined) {
      node.name = next.name
      node.container = next.container
    }
  } else if (node.more !== undefined) {
    node.more = node.more.filter((link) => link.parent !== parent || link.name !== name)
    if (node.more.length === 0) node.more = undefined
  }
}
