/** This thread: its id, the processor it runs on, and how another thread wakes it from a blocking call. */

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import koffi from 'koffi'
import { AT_FDCWD, O_RDONLY } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { close, open, pread } from './file.js'
import { bind, result } from './libc.js'

const c = {
  gettid: bind('int gettid()'),
  getpid: bind('int getpid()'),
  tgkill: bind('int tgkill(int, int, int)'),
  setaffinity: bind('int sched_setaffinity(int, size_t, const void *)'),
  getaffinity: bind('int sched_getaffinity(int, size_t, void *)'),
  setscheduler: bind('int sched_setscheduler(int, int, const void *)'),
  getrusage: bind('int getrusage(int, void *)'),
  sigaction: bind('int sigaction(int, const void *, void *)'),
  unshare: bind('int unshare(int)'),
  setsid: bind('int setsid()'),
  exit: bind('void _exit(int)'),
  geteuid: bind('uint32_t geteuid()'),
  getegid: bind('uint32_t getegid()'),
}

export const gettid = (): number => c.gettid()
export const geteuid = (): number => c.geteuid()
export const getegid = (): number => c.getegid()

/** Makes this process the leader of a session of its own, without a terminal: setsid(2). */
export const setsid = (): Result => result(c.setsid())

/** Ends this process at once, whatever its threads are held up by: _exit(2). */
export const exitNow = (code: number): number => c.exit(code)

const CLONE_FS = 0x200

/** Gives the calling thread a working directory and a umask of its own: unshare(2). */
export const unshareFs = (): Result => result(c.unshare(CLONE_FS))

const MASK_BYTES = 128
const mask = Buffer.alloc(MASK_BYTES)

/** Binds the calling thread to one processor: sched_setaffinity(2). */
export function bindToProcessor(processor: number): Result {
  mask.fill(0)
  mask[processor >> 3] = 1 << (processor & 7)
  return result(c.setaffinity(0, MASK_BYTES, mask))
}

/** The processors that the calling thread may run on, for `setAffinity`: sched_getaffinity(2). */
export function affinity(): Buffer {
  const processors = Buffer.alloc(MASK_BYTES)
  c.getaffinity(0, MASK_BYTES, processors)
  return processors
}

export const setAffinity = (processors: Buffer): Result => result(c.setaffinity(0, MASK_BYTES, processors))

const SCHED_OTHER = 0
const SCHED_IDLE = 5
const SCHED_RESET_ON_FORK = 0x40000000
const noPriority = Buffer.alloc(4)

/**
 * Has the calling thread run only when nobody else wants its processor: whom it wakes has it at once. Threads that it
 * starts are not like it: sched(7).
 */
export const runWhenIdle = (): Result =>
  result(c.setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, noPriority))

/** Undoes `runWhenIdle`. @param tid 0: the calling thread. @returns -EPERM without CAP_SYS_NICE */
export const takeTurnsAgain = (tid: number): Result => result(c.setscheduler(tid, SCHED_OTHER, noPriority))

/** Whether this machine has a processor that nobody uses: the fourth field of /proc/loadavg counts the threads that run or want to. */
export class SpareProcessor {
  private readonly processors = availableParallelism()
  private readonly fd = open(AT_FDCWD, '/proc/loadavg', O_RDONLY)
  private readonly line = Buffer.alloc(64)

  /** @returns false where it is not to be known */
  exists(): boolean {
    const n = this.fd < 0 ? this.fd : pread(this.fd, this.line, 0)
    const found = n > 0 ? / (\d+)\//.exec(this.line.toString('latin1', 0, n)) : null
    return found !== null && Number(found[1]) < this.processors
  }

  close(): void {
    if (this.fd >= 0) close(this.fd)
  }
}

const RUSAGE_THREAD = 1
const RUSAGE_NIVCSW = 136
const usage = Buffer.alloc(144)

/** How often the calling thread has lost its processor to another that wanted it: ru_nivcsw of getrusage(2). */
export function preemptions(): number {
  c.getrusage(RUSAGE_THREAD, usage)
  return usage.readUInt32LE(RUSAGE_NIVCSW)
}

/** The supplementary groups of another process; none where it is gone, or not to be seen from here (pid 0). */
export function groupsOf(pid: number): number[] {
  if (pid <= 0) return []
  try {
    const line = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? ''
    return line.split(/\s+/).filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Where threads run: the latest one's line in /proc stays open, so that the next look at it costs one call. */
export class ProcessorLook {
  private tid = 0
  private fd = -1
  private readonly line = Buffer.alloc(1024)

  /** The processor that a thread ran on last: field 39 of /proc/TID/stat. @returns -1 where the thread is gone */
  of(tid: number): number {
    if (tid !== this.tid) {
      this.close()
      this.tid = tid
      this.fd = open(AT_FDCWD, `/proc/${tid}/task/${tid}/stat`, O_RDONLY)
    }
    const n = this.fd < 0 ? this.fd : pread(this.fd, this.line, 0)
    if (n > 0) return fieldOf(this.line, n, 39)
    this.close()
    return -1
  }

  close(): void {
    if (this.fd >= 0) close(this.fd)
    this.fd = -1
    this.tid = 0
  }
}

/** A number in a line of proc(5)'s stat. The command name, field 2, may hold blanks and parentheses. */
function fieldOf(line: Buffer, length: number, field: number): number {
  let at = line.lastIndexOf(')', length - 1)
  if (at < 0) return -1
  for (let blanks = field - 2; blanks > 0; at++) {
    if (at >= length) return -1
    if (line[at] === 0x20) blanks--
  }
  let value = 0
  let digits = 0
  for (; at < length; at++, digits++) {
    const digit = (line[at] as number) - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
  }
  return digits === 0 ? -1 : value
}

/** Holds capability `bit` of capabilities(7) effectively. */
export function hasCapability(bit: number): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))
  return line?.[1] !== undefined && ((BigInt(`0x${line[1]}`) >> BigInt(bit)) & 1n) === 1n
}

/** Whether the calling thread may end what `runWhenIdle` begins. */
export const mayTakeTurnsAgain = (): boolean => inFirstUserNamespace() && hasCapability(CAP_SYS_NICE)

export const CAP_DAC_OVERRIDE = 1
export const CAP_FOWNER = 3
export const CAP_SYS_ADMIN = 21
export const CAP_SYS_NICE = 23

/** Only there do all ids map to themselves: user_namespaces(7). */
export const inFirstUserNamespace = (): boolean =>
  /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'))

/** A real-time signal that neither glibc (32, 33) nor Node uses. */
const SIGWAKE = 44
const SIGACTION_BYTES = 152
let armed = false

/**
 * Lets `wakeThread` interrupt blocking calls of this process's threads: they answer EINTR. The handler is libc's
 * abs(3), which does nothing to anybody; without SA_RESTART the interrupted call is not restarted.
 */
export function armWake(): Result {
  if (armed) return 0
  const action = Buffer.alloc(SIGACTION_BYTES)
  const abs: unknown = koffi.load('libc.so.6').symbol('abs')
  action.writeBigUInt64LE(koffi.address(abs), 0)
  const r = result(c.sigaction(SIGWAKE, action, null))
  armed = r >= 0
  return r
}

/** Interrupts the blocking call of a thread of this process, if it is in one: tgkill(2). */
export const wakeThread = (tid: number): Result => result(c.tgkill(c.getpid(), tid, SIGWAKE))
