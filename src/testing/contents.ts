/** What a directory holds: moved, and removed, also where its owner has to be let in first. */

import { chmodSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { errnoName, errnoOf } from '../errors.js'

/** Moves all that `from` holds to the empty `to` on the same filesystem. The modes of both are to be set after. */
export function moveContents(from: string, to: string): void {
  for (const dir of [from, to]) letIn(dir)
  for (const name of readdirSync(from, 'buffer')) {
    const [before, after] = [within(from, name), within(to, name)]
    // A directory that changes its parent is written to.
    const { was, changed } = letIn(before)
    renameSync(before, after)
    if (changed) chmodSync(after, was)
  }
}

/** Removes all that a directory holds. Its mode is to be set after. */
export function emptyOut(dir: string): void {
  letIn(dir)
  for (const name of readdirSync(dir, 'buffer')) removeTree(within(dir, name))
}

/** Removes a file or directory and all in it, directories without write permission too. */
export function removeTree(path: string | Buffer): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(errnoName(errnoOf(error) ?? 0))) throw error
    letInBelow(path)
    rmSync(path, { recursive: true, force: true })
  }
}

function letInBelow(path: string | Buffer): void {
  if (!letIn(path).isDirectory) return
  for (const name of readdirSync(path, 'buffer')) letInBelow(within(path, name))
}

/** Lets the owner of a directory write in it. */
function letIn(path: string | Buffer): { was: number; changed: boolean; isDirectory: boolean } {
  const stats = lstatSync(path)
  const was = stats.mode & 0o7777
  const isDirectory = stats.isDirectory()
  const changed = isDirectory && (was & 0o700) !== 0o700
  if (changed) chmodSync(path, was | 0o700)
  return { was, changed, isDirectory }
}

const within = (dir: string | Buffer, name: Buffer): Buffer =>
  Buffer.concat([Buffer.from(dir), Buffer.from('/'), name])
