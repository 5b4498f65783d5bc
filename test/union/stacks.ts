/** Layers in temporary directories, and clients of the engine over them. */
import fs from 'node:fs'
import path from 'node:path'
import type { LayerInput, MountInput } from '../../src/options.js'
import type { Transport } from '../../src/union/union.js'
import { type Identity, scratch } from '../support/identity.js'
import { discard } from '../support/mounts.js'
import { Client } from './client.js'

/** A scratch directory with an upper, a workdir and any number of lowers in it. */
export class Stack {
  readonly dir: string
  readonly lowers: string[] = []
  private clients: Client[] = []

  /** @param lowers how many, the first topmost. @param dir an existing directory of ours to use, such as a mount */
  constructor(lowers = 1, dir?: string, as: Identity = 'root') {
    this.dir = dir ?? scratch('union', as)
    for (let i = 0; i < lowers; i++) {
      this.lowers.push(path.join(this.dir, `lower${i}`))
      fs.mkdirSync(this.lowers[i] as string)
    }
    fs.mkdirSync(this.upper)
    fs.mkdirSync(this.work)
  }

  get upper(): string {
    return path.join(this.dir, 'upper')
  }
  get work(): string {
    return path.join(this.dir, 'work')
  }
  get lower(): string {
    return this.lowers[0] as string
  }

  /** Opens the stack. */
  open(options: Partial<MountInput> = {}, transport?: Transport): Client {
    const client = new Client(
      { lower: this.lowers as LayerInput[], upper: this.upper, work: this.work, ...options },
      transport,
    )
    this.clients.push(client)
    return client
  }

  /** Opens the lowers alone. */
  readOnly(): Client {
    const client = new Client({ lower: this.lowers })
    this.clients.push(client)
    return client
  }

  /** Closes a client and opens the stack anew. */
  reopen(client: Client, options: Partial<MountInput> = {}, transport?: Transport): Client {
    this.close(client)
    return this.open(options, transport)
  }

  close(client: Client): void {
    this.clients = this.clients.filter((one) => one !== client)
    client.close()
  }

  remove(): void {
    for (const client of this.clients) client.close()
    this.clients = []
    discard(this.dir)
  }
}

/** Writes files and directories below `dir`: a string or Buffer is a file, an object a directory. */
export interface Tree {
  [name: string]: string | Buffer | Tree
}

export function plant(dir: string, tree: Tree): void {
  for (const [name, what] of Object.entries(tree)) {
    const at = path.join(dir, name)
    if (typeof what === 'string' || Buffer.isBuffer(what)) fs.writeFileSync(at, what)
    else {
      fs.mkdirSync(at, { recursive: true })
      plant(at, what)
    }
  }
}
