import { LayerfsError } from '../../src/errors.js'

/** The LayerfsError that `f` throws: its code and message are what a test looks at. */
export function refusal(f: () => unknown): LayerfsError {
  try {
    f()
  } catch (error) {
    if (error instanceof LayerfsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
