/**
 * Times `layerfs export` beside `cp -al` of the merged tree and a C program that only makes links:
 * `npm run bench:export [-- --dir DIR] [--files N]...`. The trees stand in DIR, by default the temporary directory, and
 * are removed at the end. The runs take turns, so that what else the machine does falls on all.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

const TOP = path.resolve(import.meta.dirname, '..')
const FILES_PER_DIR = 100
/** Every tenth file comes from the upper layer, in place of one of the lower. */
const UPPER_SHARE = 10

interface Tree {
  top: string
  base: string
  /** The list for the C program. */
  list: string
}

const layerfs = (...args: string[]): string[] => [process.execPath, path.join(TOP, 'bin/layerfs.js'), ...args]

/** Two layers that show `files` files, and hide a hundredth as many. */
function makeTree(dir: string, files: number): Tree {
  const [top, base, list] = [path.join(dir, 'top'), path.join(dir, 'base'), path.join(dir, 'list')]
  fs.mkdirSync(top)
  fs.mkdirSync(base)
  const lines: string[] = ['D.']
  for (let d = 0; d < files / FILES_PER_DIR; d++) {
    const name = `directory-${d}`
    for (const layer of [top, base]) fs.mkdirSync(path.join(layer, name))
    const ofBase: string[] = []
    const ofTop: string[] = []
    for (let f = 0; f < FILES_PER_DIR; f++) {
      const file = `file-${String(f).padStart(4, '0')}.txt`
      fs.writeFileSync(path.join(base, name, file), '')
      if (f % UPPER_SHARE === 0) fs.writeFileSync(path.join(top, name, file), '')
      ;(f % UPPER_SHARE === 0 ? ofTop : ofBase).push(file)
    }
    fs.writeFileSync(path.join(base, name, 'gone'), '')
    fs.writeFileSync(path.join(top, name, '.wh.gone'), '')
    lines.push(`D${name}`)
    for (const [layer, names] of [
      [top, ofTop],
      [base, ofBase],
    ] as const)
      lines.push(`L${layer}`, ...names.map((file) => `F${file}`))
  }
  fs.writeFileSync(list, `${lines.join('\0')}\0`)
  return { top, base, list }
}

interface Run {
  /** Wall time of the whole process, seconds. */
  seconds: number
  /** Most resident memory seen, MiB; 0 where the process was too short to look. */
  memory: number
}

async function run(argv: readonly string[], input: string | undefined): Promise<Run> {
  const [file = '', ...args] = argv
  const stdin = input === undefined ? 'ignore' : fs.openSync(input, 'r')
  const since = performance.now()
  const child = spawn(file, args, { stdio: [stdin, 'ignore', 'pipe'] })
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  let memory = 0
  const look = setInterval(() => {
    try {
      const text = fs.readFileSync(`/proc/${child.pid}/status`, 'latin1')
      memory = Math.max(memory, Number(/^VmHWM:\s*(\d+)/m.exec(text)?.[1] ?? 0) / 1024)
    } catch {
      // It has ended.
    }
  }, 20)
  const code = await new Promise((resolve) => child.on('exit', resolve))
  const seconds = (performance.now() - since) / 1000
  clearInterval(look)
  if (typeof stdin === 'number') fs.closeSync(stdin)
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit ${String(code)}: ${errors}`)
  return { seconds, memory: Math.round(memory) }
}

function compileC(dir: string): string | undefined {
  const program = path.join(dir, 'links')
  const ran = spawnSync('cc', ['-O2', '-o', program, path.join(TOP, 'scripts/bench-export.c')], {
    encoding: 'utf8',
  })
  if (ran.status === 0) return program
  console.log(`no C program: ${ran.error?.message ?? ran.stderr}`)
  return undefined
}

async function measure(dir: string, files: number, rounds: number): Promise<void> {
  const tree = makeTree(dir, files)
  const merged = path.join(dir, 'merged')
  const out = path.join(dir, 'out')
  const [node = '', ...rest] = layerfs('export', '--lower', tree.top, '--lower', tree.base, merged)
  execFileSync(node, rest, { stdio: 'ignore' })
  const program = compileC(dir)
  const rows: { name: string; argv: string[]; input?: string }[] = [
    { name: 'layerfs export', argv: layerfs('export', '--lower', tree.top, '--lower', tree.base, out) },
    { name: 'cp -al of the merged tree', argv: ['cp', '-al', merged, out] },
    ...(program === undefined ? [] : [{ name: 'C, linkat only', argv: [program, out], input: tree.list }]),
  ]
  const runs = new Map<string, Run[]>(rows.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++)
    for (const { name, argv, input } of rows) {
      runs.get(name)?.push(await run(argv, input))
      fs.rmSync(out, { recursive: true })
    }
  console.log(`\n${files} files, ${rounds} runs each, on ${os.availableParallelism()} processors:\n`)
  console.log('| | min | median | max | memory |\n|---|---|---|---|---|')
  for (const { name } of rows) {
    const sorted = (runs.get(name) ?? []).sort((a, b) => a.seconds - b.seconds)
    const at = (i: number): string => (sorted[i]?.seconds ?? 0).toFixed(2)
    const memory = Math.max(...sorted.map((r) => r.memory))
    console.log(
      `| ${name} | ${at(0)} s | ${at(Math.floor(sorted.length / 2))} s | ${at(sorted.length - 1)} s | ${memory} MiB |`,
    )
  }
}

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: os.tmpdir() },
    files: { type: 'string', multiple: true, default: ['50000', '500000'] },
    rounds: { type: 'string', default: '5' },
  },
})
for (const files of values.files.map(Number)) {
  const dir = fs.mkdtempSync(path.join(values.dir, 'layerfs-bench-export-'))
  try {
    await measure(dir, files, Number(values.rounds))
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}
