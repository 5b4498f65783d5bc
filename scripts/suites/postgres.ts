/** PostgreSQL on a cluster that lies in the upper, or in a lower and is then worked on. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { differences, snapshot } from '../../test/support/tree.js'
import { type Score, type Suite, steps } from './score.js'
import { type Place, run } from './systems.js'

/** Who runs it: the user that Debian's package makes. */
const USER = 'postgres'
const TRANSACTIONS = 1000
/** How long the load runs before the server is killed, seconds. */
const LOADED = 4

/** What pgbench keeps equal in every transaction. */
const BALANCED = `
  select (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from pgbench_tellers)
     and (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches)
     and (select sum(bbalance) from pgbench_branches) = (select coalesce(sum(delta), 0) from pgbench_history)`

/** Every table and index read whole: heap against itself, index against heap. An error is a corruption. */
const CHECKED = `
  set client_min_messages = warning;
  create extension if not exists amcheck;
  select count(*) from pg_class c, lateral verify_heapam(c.oid) where c.relkind in ('r', 't', 'm');
  select count(bt_index_check(c.oid, true)) > 100 from pg_class c, pg_am a
    where c.relam = a.oid and a.amname = 'btree' and c.relkind = 'i'`

class Cluster {
  private readonly data: string

  constructor(
    private readonly bin: string,
    private readonly dir: string,
    /** Holds the socket, outside of what is tested. */
    private readonly socket: string,
  ) {
    this.data = path.join(dir, 'cluster')
  }

  private argv(program: string, words: readonly string[]): string[] {
    return ['runuser', '-u', USER, '--', path.join(this.bin, program), ...words]
  }

  /** @throws with what the program said where it fails */
  private call(program: string, words: readonly string[], minutes = 5): string {
    const { status, output } = run(this.argv(program, words), { cwd: this.socket, minutes })
    if (status !== 0)
      throw new Error(`${program} ${status}: ${output.trim().split('\n').slice(-2).join('; ')}`)
    return output.trim()
  }

  make(): void {
    fs.chownSync(this.dir, ...owner(this.socket))
    this.call('initdb', ['-D', this.data, '-k', '-A', 'trust', '-E', 'UTF8', '--locale=C'])
  }

  start(): void {
    const options = `-c listen_addresses= -c unix_socket_directories=${this.socket}`
    const log = path.join(this.socket, 'log')
    this.call('pg_ctl', ['start', '-w', '-t', '120', '-s', '-D', this.data, '-l', log, '-o', options])
  }

  stop(): void {
    this.call('pg_ctl', ['stop', '-w', '-s', '-m', 'fast', '-D', this.data])
  }

  fill(): void {
    this.call('pgbench', [...this.at(), '-i', '-q', '-s', '5', 'postgres'])
  }

  private at(): string[] {
    return ['-h', this.socket]
  }

  load(): void {
    const words = [...this.at(), '-n', '-c', '2', '-j', '2', '-t', `${TRANSACTIONS / 2}`, 'postgres']
    const said = this.call('pgbench', words)
    if (!said.includes(`${TRANSACTIONS}/${TRANSACTIONS}`)) throw new Error(said)
  }

  /** Kills the server while two clients work, once some of the work is certain to be done. */
  crash(): void {
    const words = [...this.at(), '-n', '-c', '2', '-j', '2', '-T', '60', 'postgres']
    const [file = '', ...args] = this.argv('pgbench', words)
    const load = spawn(file, args, { stdio: 'ignore' })
    run(['sleep', `${LOADED}`], { minutes: 1 })
    const pids = fs.readFileSync(path.join(this.data, 'postmaster.pid'), 'utf8').split('\n')
    const postmaster = Number(pids[0])
    const children = run(['pgrep', '-P', `${postmaster}`], { minutes: 1 })
      .output.trim()
      .split('\n')
      .map(Number)
    for (const pid of [postmaster, ...children]) process.kill(pid, 'SIGKILL')
    load.kill()
    // Shared memory is free once the last of them is gone.
    const gone = (pid: number): boolean => !fs.existsSync(`/proc/${pid}`)
    for (let i = 0; i < 100 && ![postmaster, ...children].every(gone); i++)
      run(['sleep', '0.1'], { minutes: 1 })
  }

  /** Leaves no server behind, whatever happened. */
  end(): void {
    run(this.argv('pg_ctl', ['stop', '-s', '-m', 'immediate', '-D', this.data]), { minutes: 2 })
  }

  private query(sql: string): string {
    return this.call('psql', [
      ...this.at(),
      '-X',
      '-q',
      '-t',
      '-A',
      '-v',
      'ON_ERROR_STOP=1',
      '-c',
      sql,
      'postgres',
    ])
  }

  recovered(): void {
    if (!fs.readFileSync(path.join(this.socket, 'log'), 'utf8').includes('automatic recovery in progress'))
      throw new Error('the log tells of no recovery')
    this.check()
  }

  /** Asks the running server. */
  check(): void {
    if (this.query(BALANCED) !== 't') throw new Error('the balances differ')
    const said = this.query(CHECKED)
    if (said !== '0\nt') throw new Error(`amcheck: ${said}`)
  }

  /** Reads every page of the stopped server. */
  checksums(): void {
    this.call('pg_checksums', ['--check', '-D', this.data])
  }
}

const owner = (dir: string): [uid: number, gid: number] => {
  const { uid, gid } = fs.statSync(dir)
  return [uid, gid]
}

function score(installed: string, place: Place): Score {
  const socket = path.join(place.top, 'run')
  fs.mkdirSync(socket)
  run(['chown', `${USER}:`, socket], { minutes: 1 })
  const made = (cluster: Cluster): void => {
    cluster.make()
    cluster.start()
    cluster.fill()
    cluster.stop()
  }
  const lower = place.layout !== 'upper' && place.system !== 'directory'
  const cluster = new Cluster(installed, place.dir, socket)
  let before: ReturnType<typeof snapshot> | undefined
  const layer = place.lower[0] ?? ''
  const result = steps([
    [
      'initdb and pgbench -i',
      () => {
        if (!lower) return made(cluster)
        place.prepare((dir) => made(new Cluster(installed, dir, socket)))
        before = snapshot(layer)
      },
    ],
    ['start', () => cluster.start()],
    ['load', () => cluster.load()],
    ['kill the server under load', () => cluster.crash()],
    ['start again', () => cluster.start()],
    ['balances and amcheck after the recovery', () => cluster.recovered()],
    ['load again', () => cluster.load()],
    ['stop', () => cluster.stop()],
    ['checksums', () => cluster.checksums()],
    ['remount', () => place.remount()],
    ['checksums after the remount', () => cluster.checksums()],
    ['start after the remount', () => cluster.start()],
    ['balances and amcheck after the remount', () => cluster.check()],
    ['stop after the remount', () => cluster.stop()],
    [
      'the lower is as it was',
      () => {
        const found = before === undefined ? [] : differences(before, snapshot(layer))
        if (found.length > 0) throw new Error(found.slice(0, 3).join('; '))
      },
    ],
  ])
  cluster.end()
  return result
}

export const postgres: Suite = {
  name: 'postgres',
  variable: 'POSTGRES',
  holds: 'initdb',
  layouts: ['upper', 'lower'],
  score,
}
