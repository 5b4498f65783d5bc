/** What long commands share: progress on a terminal, and an end by signal that leaves nothing behind. */
import cliProgress from 'cli-progress'
import { LayerfsError } from '../errors.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Runs work that SIGINT, SIGTERM and SIGHUP abort. @throws LayerfsError INTERRUPTED */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const stop = (signal: NodeJS.Signals): void =>
    controller.abort(new LayerfsError('INTERRUPTED', `interrupted by ${signal}`))
  for (const signal of SIGNALS) process.on(signal, stop)
  try {
    return await work(controller.signal)
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop)
  }
}

/** Whether somebody sees progress. */
export const watched = (): boolean => process.stderr.isTTY === true

/** A bar on standard error with figures of the command's own. */
export class Progress {
  private readonly bar: cliProgress.SingleBar

  /** @param figures names of the payload's members, in cli-progress's braces */
  constructor(total: number, figures: string, initial: Readonly<Record<string, string | number>>) {
    this.bar = new cliProgress.SingleBar(
      {
        format: `{bar} {percentage}% {value}/{total} files ${figures} ETA {eta_formatted}`,
        barsize: 24,
        hideCursor: true,
        clearOnComplete: true,
        gracefulExit: false,
        stream: process.stderr,
      },
      cliProgress.Presets.shades_classic,
    )
    this.bar.start(total, 0, initial)
  }

  update(done: number, figures: Readonly<Record<string, string | number>>): void {
    this.bar.update(done, figures)
  }

  stop(): void {
    this.bar.stop()
  }
}
