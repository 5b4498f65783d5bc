/** Differences as a command tells them. */
import type { Difference } from '../export/manifest.js'
import { print } from './command.js'

/** How many are kept and told; the others are counted. */
const MAX_KEPT = 1000

export class Differences {
  readonly all: Difference[] = []
  count = 0

  add(difference: Difference): void {
    this.count++
    if (this.all.length < MAX_KEPT) this.all.push(difference)
  }

  /** @param compared how many files were looked at */
  print(compared: number): void {
    for (const { path, what, expected, got } of this.all)
      print(
        expected === undefined ? `${path}: ${what}` : `${path}: ${what}: expected ${expected}, got ${got}`,
      )
    if (this.count > this.all.length) print(`and ${this.count - this.all.length} more`)
    print(
      this.count === 0
        ? `verified: ${compared} files and directories as they should be`
        : `${this.count} ${this.count === 1 ? 'difference' : 'differences'} among ${compared} files and directories`,
    )
  }
}
