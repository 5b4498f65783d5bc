/** A thread that makes the links of full slots until it is told to stop. */

import { workerData } from 'node:worker_threads'
import { linkNames } from '../sys/name.js'
import { Board, DONE, type Slot } from './board.js'

const board = new Board(workerData as SharedArrayBuffer)

function link(slot: Slot): void {
  const { fromFd, toFd, refused } = slot
  slot.forEach((name, at) => {
    if (linkNames(fromFd, name, toFd) < 0) refused[at] = 1
  })
  slot.state = DONE
  board.finish()
}

board.begin()
for (;;) {
  const seen = board.posted
  let idle = true
  for (const slot of board.slots) {
    if (!slot.take()) continue
    idle = false
    link(slot)
  }
  if (!idle) continue
  if (board.stopped) break
  board.waitPosted(seen)
}
