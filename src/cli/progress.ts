/** What long commands share: progress on a terminal, and an end by signal that leaves nothing behind. */
import type { SingleBar } from 'cli-progress'
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
  private constructor(private readonly bar: SingleBar) {}

  /** @param figures names of the payload's members, in cli-progress's braces */
  static async start(
    total: number,
    figures: string,
    initial: Readonly<Record<string, string | number>>,
  ): Promise<Progress> {
    // Loaded here, as most commands show no progress.
    const { default: cliProgress } = await import('cli-progress')
    const bar = new cliProgress.SingleBar(
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
    bar.start(total, 0, initial)
    return new Progress(bar)
  }

  update(done: number, figures: Readonly<Record<string, string | number>>): void {
    this.bar.update(done, figures)
  }

  stop(): void {
    this.bar.stop()
  }
}
