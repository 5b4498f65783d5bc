/** Hosts of layerfs, each started when first asked for; others than the systems that are to ask it do not see it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { must, shell, USER, wordsFor } from './run.js'

const COMMAND = join(import.meta.dirname, '../../bin/layerfs')

class Host {
  private child: ChildProcess | undefined

  /** @param place where launchers look for it */
  constructor(
    private readonly asUser: boolean,
    private readonly runtime: string,
    private readonly place: string,
  ) {}

  get env(): Record<string, string> {
    return { XDG_RUNTIME_DIR: this.runtime }
  }

  /** @returns its process */
  show(): number {
    if (this.child === undefined) this.start()
    else this.rename('-', '.')
    return this.pid
  }

  /** Launchers look at PROCESS.DESCRIPTOR alone. */
  hide(): void {
    this.rename('.', '-')
  }

  private get pid(): number {
    return this.child?.pid as number
  }

  private rename(from: string, to: string): void {
    const name = readdirSync(this.place).find((each) => each.startsWith(`${this.pid}${from}`))
    if (name === undefined) throw new Error('the host has ended')
    renameSync(join(this.place, name), join(this.place, name.replace(from, to)))
  }

  private start(): void {
    if (this.asUser) {
      mkdirSync(this.runtime, { recursive: true, mode: 0o700 })
      must(`chown ${USER}: ${this.runtime}`)
    }
    const [file = '', ...words] = wordsFor([COMMAND, 'host'], this.asUser)
    this.child = spawn(file, words, { stdio: 'ignore', env: { ...process.env, ...this.env } })
    for (let tries = 0; tries < 100; tries++) {
      if (existsSync(this.place) && readdirSync(this.place).some((name) => name.startsWith(`${this.pid}.`)))
        return
      shell('sleep 0.05')
    }
    throw new Error('the host does not start')
  }

  end(): void {
    if (this.child !== undefined) {
      this.show()
      this.child.kill('SIGTERM')
    }
    rmSync(this.runtime, { recursive: true, force: true })
  }
}

export class Hosts {
  private readonly root: Host
  private readonly user: Host

  constructor(under: string) {
    const [root, user] = ['runtime', 'runtime-user'].map((name) => join(under, name)) as [string, string]
    this.root = new Host(false, root, '/run/layerfs')
    this.user = new Host(true, user, join(user, 'layerfs'))
  }

  of(asUser: boolean): Host {
    return asUser ? this.user : this.root
  }

  end(): void {
    this.root.end()
    this.user.end()
  }
}
