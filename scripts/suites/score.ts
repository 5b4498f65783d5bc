/** What a suite is to `main`, and what it gives back. */
import type { Layout, Place, System } from './systems.js'

export interface Score {
  ran: number
  /** Each failed test by its name in the suite, with what it said. */
  failed: Map<string, string>
}

export interface Suite {
  name: string
  /** The environment variable that says where it is installed, and what must be there. */
  variable: string
  holds: string
  systems?: readonly System[]
  layouts: readonly Layout[]
  score(installed: string, place: Place): Score
}

/** The score of named steps, of which a later one may need an earlier one: the first that throws is the last to run. */
export function steps(list: readonly (readonly [name: string, act: () => void])[]): Score {
  const score: Score = { ran: 0, failed: new Map() }
  for (const [name, act] of list) {
    score.ran++
    try {
      act()
    } catch (error) {
      score.failed.set(name, error instanceof Error ? error.message : String(error))
      break
    }
  }
  return score
}
