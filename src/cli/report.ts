import { exitCodeOf, LayerfsError } from '../errors.js'

/** Runs a command and sets the exit code; what it throws becomes one line on standard error. */
export async function report(command: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await command()
  } catch (error) {
    process.stderr.write(`layerfs: ${lineOf(error)}\n`)
    process.exitCode = exitCodeOf(error)
  }
}

/** One line for what went wrong; the stack too where it is a defect of ours. */
export function lineOf(error: unknown): string {
  if (error instanceof LayerfsError) return error.message.replaceAll('\n', ' ')
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
