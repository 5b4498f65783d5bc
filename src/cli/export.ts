/** `layerfs export`. */
import type { Argv } from 'yargs'
import { countFiles, type ExportOptions, type ExportSummary, exportTree } from '../export/export.js'
import type { Counts, LinkMode } from '../export/place.js'
import { withSource } from '../export/source.js'
import { bytes, type Command, flagOf, optionalOf, print, printJson, type Words } from './command.js'
import { Differences } from './differences.js'
import { type AskedStack, askedStack, stackFlags, valuesOf } from './layers.js'
import { interruptible, Progress, watched } from './progress.js'

const warn = (line: string): void => {
  process.stderr.write(`layerfs: ${line}\n`)
}

export const command: Command = {
  build: (yargs: Argv) =>
    stackFlags(yargs)
      .usage(
        '$0 export (--lower DIR... [--upper DIR] | MOUNTPOINT) OUT\n\nMakes OUT the tree that the stack shows. Directories are made, files are hard links to those of the layers; where that cannot be they are cloned or copied, and told. OUT appears whole or not at all. No mount is needed.',
      )
      .positional('paths', { type: 'string', array: true, describe: '[MOUNTPOINT] OUT' })
      .options({
        link: {
          choices: ['auto', 'only', 'clone', 'copy'],
          default: 'auto',
          group: 'Files:',
          describe: 'auto: link, else clone, else copy; only: link or fail; clone, copy: for a tree to edit',
        },
        protect: {
          type: 'boolean',
          group: 'Files:',
          describe:
            'take write permission from all exported files; linked ones are read-only in their layer too',
        },
        into: { type: 'boolean', group: 'Output:', describe: 'OUT is an empty directory, which is replaced' },
        'dry-run': { type: 'boolean', group: 'Output:', describe: 'change nothing, tell what would be done' },
        verify: {
          type: 'boolean',
          group: 'Output:',
          describe: 'compare OUT with the stack afterwards; exit 1 if they differ',
        },
        manifest: {
          type: 'string',
          requiresArg: true,
          group: 'Output:',
          describe: 'FILE: write a line of JSON for each file, for layerfs verify',
        },
        json: { type: 'boolean', group: 'Output:', describe: 'the summary as JSON' },
      })
      .example('$0 export --lower app --lower base root', 'the merged tree in root, by links')
      .example('$0 export mnt root --verify', 'the tree of a running mount, checked'),
  run: (words) => runExport(words),
}

/** Exports by the words of a command line, whoever read them. Flags that are not there have their defaults. */
export function runExport(words: Words): Promise<number> {
  const { stack, rest } = askedStack(words, valuesOf(words, 'paths'), ['OUT'])
  return interruptible((signal) => run(words, stack, rest[0] as string, signal))
}

async function run(words: Words, stack: AskedStack, out: string, signal: AbortSignal): Promise<number> {
  const dryRun = flagOf(words, 'dry-run')
  const protect = flagOf(words, 'protect')
  const options: ExportOptions = {
    ...stack.options,
    link: (optionalOf(words, 'link') ?? 'auto') as LinkMode,
    protect,
    into: flagOf(words, 'into'),
    dryRun,
    signal,
  }
  const done = await shown(stack, out, options, signal)
  const manifest = optionalOf(words, 'manifest')
  if (manifest !== undefined && !dryRun) {
    const { writeManifest } = await import('../export/manifest.js')
    await withSource(stack.layers, stack.options, (source) => writeManifest(source, manifest, signal))
  }
  const differences = new Differences()
  const verified =
    flagOf(words, 'verify') && !dryRun
      ? await (await import('../export/verify.js')).verifyExport(
          stack.layers,
          done.out,
          (d) => differences.add(d),
          {
            ...stack.options,
            protect,
            signal,
          },
        )
      : undefined
  if (flagOf(words, 'json'))
    printJson({
      ...done,
      dryRun,
      ...(verified === undefined ? {} : { verified, differences: differences.all }),
    })
  else {
    print(describe(done, dryRun))
    if (verified !== undefined) differences.print(verified)
  }
  if (!dryRun) warnings(done, protect)
  return differences.count > 0 ? 1 : 0
}

/** Exports, with progress where somebody watches. */
async function shown(
  stack: AskedStack,
  out: string,
  options: ExportOptions,
  signal: AbortSignal,
): Promise<ExportSummary> {
  if (!watched()) return exportTree(stack.layers, out, options)
  const figures = (c: Pick<Counts, 'linked' | 'cloned' | 'copied' | 'bytes'>, rate: number) => ({
    linked: c.linked,
    copied: c.cloned + c.copied,
    size: bytes(c.bytes),
    rate,
  })
  const total = await countFiles(stack.layers, stack.options, signal)
  const since = performance.now()
  const bar = await Progress.start(
    total,
    '{linked} linked {copied} copied {size} {rate}/s',
    figures({ linked: 0, cloned: 0, copied: 0, bytes: 0 }, 0),
  )
  try {
    return await exportTree(stack.layers, out, {
      ...options,
      onProgress: (c) =>
        bar.update(c.files, figures(c, Math.round((c.files * 1000) / (performance.now() - since)))),
    })
  } finally {
    bar.stop()
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EXDEV: 'on another filesystem or mount',
  EMLINK: 'with as many links as the filesystem allows',
  EPERM: 'not permitted (fs.protected_hardlinks, or the filesystem has no links)',
  EOPNOTSUPP: 'on a filesystem without links',
  owner: 'with a shifted owner',
  override: 'with an overridden mode or owner',
  metacopy: 'with data in a layer below',
}

function describe(done: ExportSummary, dryRun: boolean): string {
  const parts = [
    `${done.linked} linked`,
    ...(done.cloned > 0 ? [`${done.cloned} cloned`] : []),
    ...(done.copied > 0
      ? [`${done.copied} ${dryRun ? 'cloned or copied' : 'copied'} (${bytes(done.bytes)})`]
      : []),
    ...(done.made > 0 ? [`${done.made} made again`] : []),
  ]
  const reasons = Object.entries(done.refusals).map(([reason, n]) => `${n} ${REASONS[reason] ?? reason}`)
  const why = reasons.length === 0 ? '' : `; not linked: ${reasons.join(', ')}`
  const verb = dryRun ? `${done.out} would hold` : done.out
  return `${verb}: ${done.directories} directories, ${done.files} files: ${parts.join(', ')}${why} (${done.seconds.toFixed(2)} s)`
}

function warnings(done: ExportSummary, protect: boolean): void {
  if (done.linked > 0 && !protect)
    warn(
      'writing to a linked file changes its layer: use --link=clone or --link=copy for a tree to edit, or --protect',
    )
  if (done.unowned > 0)
    warn(
      `${done.unowned} files and directories belong to you instead of their owner, without set-id bits and capabilities: only root may give them away`,
    )
}
