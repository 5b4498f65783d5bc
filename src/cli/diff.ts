/** `layerfs diff`. */
import { writeSync } from 'node:fs'
import type { Argv } from 'yargs'
import type { CompareOptions, Kind } from '../diff/compare.js'
import { type Diff, diffStacks } from '../diff/diff.js'
import { layerTar } from '../diff/layer.js'
import { letterOf } from '../diff/letter.js'
import { patchOf } from '../diff/patch.js'
import { errnoOf, errnoText, LayerfsError } from '../errors.js'
import { drive, shown } from '../export/walk.js'
import { type LayerSpec, parseLayer } from '../options.js'
import { type Command, flagOf, print, printJson, table, type Words } from './command.js'
import { type AskedStack, askedStack, stackFlags, valuesOf } from './layers.js'
import { interruptible } from './progress.js'

export const command: Command = {
  build: (yargs: Argv) =>
    stackFlags(yargs)
      .usage(
        '$0 diff (--upper DIR --lower DIR... | --from DIR... --lower DIR... | MOUNTPOINT)\n\nWhat an upper changes of the lowers beneath it; with --from, what one stack shows differently from another. A: added, C: changed, D: deleted, as podman diff tells them.',
      )
      .positional('mountpoint', { type: 'string', describe: 'a mount, whose upper is looked at' })
      .options({
        from: {
          type: 'string',
          requiresArg: true,
          describe: 'DIR: a layer of the older stack, the topmost first',
        },
        json: { type: 'boolean', describe: 'as JSON, with what kind of change each is' },
        stat: { type: 'boolean', describe: 'how many changes of each kind' },
        patch: { type: 'boolean', describe: 'text files as a unified diff' },
        tar: { type: 'boolean', describe: 'as an OCI image layer, a tar archive on standard output' },
      })
      .conflicts({ json: ['stat', 'patch', 'tar'], stat: ['patch', 'tar'], patch: ['tar'] })
      .example('$0 diff --upper up --lower base', 'what up changes')
      .example('$0 diff mnt --tar > layer.tar', 'the changes of a mount as an image layer'),
  run(words) {
    const { stack } = askedStack(words, valuesOf(words, 'mountpoint'), [])
    const old = olderStack(stack, valuesOf(words, 'from'))
    const asked: CompareOptions = { deleted: flagOf(words, 'patch'), opaque: flagOf(words, 'tar') }
    return interruptible((signal) =>
      diffStacks(old, stack.layers, { ...stack.options, ...asked }, async (diff) => {
        await drive(output(words, diff), signal)
        return 0
      }),
    )
  },
}

function olderStack(stack: AskedStack, from: readonly string[]): LayerSpec[] {
  if (from.length > 0) return from.map(parseLayer)
  if (!stack.hasUpper)
    throw new LayerfsError(
      'USAGE',
      'nothing to compare with: give --upper DIR, or the older stack by --from DIR',
    )
  if (stack.layers.length < 2)
    throw new LayerfsError('USAGE', 'no lower directory given: add at least one --lower DIR')
  return stack.layers.slice(1)
}

function output(words: Words, diff: Diff): Generator<void, void> {
  if (flagOf(words, 'tar')) return archive(diff)
  if (flagOf(words, 'patch')) return patch(diff)
  if (flagOf(words, 'json')) return json(diff)
  return flagOf(words, 'stat') ? stat(diff) : letters(diff)
}

function* letters({ changes }: Diff): Generator<void, void> {
  for (const { path, kind } of changes) {
    if (kind !== 'same') print(`${letterOf(kind)} ${shown(path).replaceAll('\n', '\\n')}`)
    yield
  }
}

function* json({ changes }: Diff): Generator<void, void> {
  const all: { path: string; change: string; kind: Kind }[] = []
  for (const { path, kind } of changes) {
    all.push({ path: shown(path), change: kind === 'same' ? '' : letterOf(kind), kind })
    yield
  }
  printJson(all)
}

const KINDS: Readonly<Record<Kind, string>> = {
  added: 'added',
  modified: 'modified',
  deleted: 'deleted',
  type: 'of another type',
  metadata: 'changed in metadata only',
  same: 'in the upper without any difference',
  contents: 'directories that hold changes',
}

function* stat({ changes }: Diff): Generator<void, void> {
  const counts = new Map<Kind, number>()
  for (const { kind } of changes) {
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
    yield
  }
  const kinds = (Object.keys(KINDS) as Kind[]).filter((kind) => counts.has(kind))
  if (kinds.length === 0) print('no changes')
  else print(...table(kinds.map((kind) => [String(counts.get(kind)), KINDS[kind]])))
}

function* patch({ changes, old, now }: Diff): Generator<void, void> {
  for (const change of changes) {
    const text = patchOf(change, old, now)
    if (text.length > 0) writeOut(Buffer.from(text))
    yield
  }
}

function* archive({ changes, now }: Diff): Generator<void, void> {
  if (process.stdout.isTTY)
    throw new LayerfsError('USAGE', 'an archive is no text for a terminal: add > layer.tar')
  for (const piece of layerTar(changes, now)) {
    writeOut(piece)
    yield
  }
}

const waiting = new Int32Array(new SharedArrayBuffer(4))

/** Writes all of it to standard output, which may be a pipe that is full for the moment. */
function writeOut(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EAGAIN') Atomics.wait(waiting, 0, 0, 5)
      else {
        const errno = errnoOf(error) ?? 0
        throw new LayerfsError('IO', `cannot write to standard output: ${errnoText(errno)}`, { errno })
      }
    }
  }
}
