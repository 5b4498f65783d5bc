import { errnoName } from '../errors.js'
import { type Context, NO_REPLY } from './context.js'
import type { Answer, Op } from './ops.js'

/** A request as a line, without its answer. It must be made before the handler runs: handlers reuse what it reads. */
export function describe(op: Op, x: Context): string {
  const { req } = x
  const args = op.show(req)
  const { uid, gid, pid } = req.caller
  return `${op.name} node=${req.node}${args === '' ? '' : ` ${args}`} uid=${uid} gid=${gid} pid=${pid}`
}

/** What was answered. @param result as of a handler. @param ms the time it took */
export function outcome(op: Op, x: Context, result: number, ms: number): string {
  const took = `${Math.round(ms * 1000)}us`
  if (result === NO_REPLY) return took
  if (result < 0) return `${errnoName(result)} ${took}`
  return `${answerText(op.answer, x, result)} ${took}`
}

function answerText(answer: Answer, x: Context, size: number): string {
  const { entry, attr, opened } = x
  switch (answer) {
    case 'entry':
    case 'create': {
      if (x.reply.firstField === 0) return 'no entry'
      const what = `node=${entry.node} ino=${entry.attr.ino} mode=0${entry.attr.mode.toString(8)}`
      return answer === 'entry' ? what : `${what} fh=${opened.fh}`
    }
    case 'attr':
      return `ino=${attr.ino} mode=0${attr.mode.toString(8)} size=${attr.size}`
    case 'open':
      return `fh=${opened.fh}${opened.backing >= 0 ? ' backing offered' : ''}`
    case 'bytes':
      return `${size} bytes`
    case 'count':
      return `${x.reply.firstField} bytes`
    case 'none':
      return 'ok'
  }
}
