/** What a directory holds: moved, and removed. */

import { readdirSync, renameSync, rmSync } from 'node:fs'

/** Moves all that `from` holds to the empty `to` on the same filesystem. */
export function moveContents(from: string, to: string): void {
  for (const name of readdirSync(from, 'buffer')) renameSync(within(from, name), within(to, name))
}

/** Removes all that a directory holds. */
export function emptyOut(dir: string): void {
  for (const name of readdirSync(dir, 'buffer')) rmSync(within(dir, name), { recursive: true, force: true })
}

const within = (dir: string, name: Buffer): Buffer => Buffer.concat([Buffer.from(`${dir}/`), name])
