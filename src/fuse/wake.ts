import { availableParallelism } from 'node:os'
import { LayerfsError } from '../errors.js'
import { Adaptive, type Overseer } from './adaptive.js'
import { Follow, Free, Spin, type Waiter, Yield } from './waiter.js'

/**
 * How the session's thread waits for the next request. A wake-up across processors costs ten times what the
 * request itself does, so:
 *
 * - `free`: a blocking read, and the scheduler decides where.
 * - `follow`: the thread moves to the processor of its latest caller, where it runs as soon as the caller waits.
 *   Good where all processors are busy: an idle one takes the caller away again.
 * - `spin`: asks again for a while before it sleeps. Good where a processor is idle.
 * - `yield`: follows, and runs at SCHED_IDLE: sched(7) counts a processor that runs nothing else as idle, so the
 *   caller who has his answer goes on there at once, and nobody is woken elsewhere. Good for one caller at a time
 *   who hardly computes; others may take the processor away. Takes CAP_SYS_NICE.
 * - `adaptive`: spins, and does one of the two above for as long as requests come faster by it.
 *
 * None costs anything at rest.
 */
export type WakeMode = 'adaptive' | 'free' | 'follow' | 'spin' | 'yield'

/**
 * With one processor, nobody can send a request while this thread spins, and all callers are where it is.
 *
 * @param watched who watches over this thread; without it `adaptive` does not yield
 * @throws LayerfsError UNSUPPORTED where `yield` is not permitted
 */
export function waiter(mode: WakeMode, fd: number, watched?: Overseer): Waiter {
  const one = make(mode, fd, watched)
  if (one.enter() < 0)
    throw new LayerfsError('UNSUPPORTED', 'wake=yield takes CAP_SYS_NICE, as root has it: leave it out')
  return one
}

function make(mode: WakeMode, fd: number, watched: Overseer | undefined): Waiter {
  switch (mode) {
    case 'adaptive':
      return availableParallelism() > 1 ? new Adaptive(fd, watched) : new Free(fd)
    case 'free':
      return new Free(fd)
    case 'follow':
      return new Follow(fd)
    case 'spin':
      return new Spin(fd)
    case 'yield':
      return new Yield(fd)
  }
}
