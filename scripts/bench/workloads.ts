/** What is done in a mount: lines of bash, run in its root. `$DATA` has the trees, `$OUT` is a scratch directory outside. */
import type { StackName } from './data.js'

export interface Workload {
  name: string
  stack: StackName
  /** It changes the tree: each run has a fresh mount. The others run twice in one mount: cold, then warm. */
  writes: boolean
  run: string
  /** The lowers are mounted alone. */
  withoutUpper?: boolean
  /** Done first, in the mount, and not measured. */
  before?: string
  /** Milliseconds by the program's own clock, from what it printed, where its start and end would hide the work. */
  clock?: (stdout: string) => number
  /** It changes or removes files of lowers, or their metadata. */
  copiesUp?: boolean
  /** Only root may. */
  rootOnly?: boolean
  group: 'walk' | 'data' | 'write' | 'change'
}

const read = (name: string, stack: StackName, line: string, group: 'walk' | 'data' = 'walk'): Workload => ({
  name,
  stack,
  writes: false,
  run: line,
  group,
})

/** The same with the lowers mounted alone. */
const alone = (workload: Workload): Workload => ({
  ...workload,
  name: `${workload.name}, no upper`,
  withoutUpper: true,
})

const write = (name: string, stack: StackName, line: string, more: Partial<Workload> = {}): Workload => ({
  name,
  stack,
  writes: true,
  run: line,
  group: 'write',
  ...more,
})

const change = (name: string, stack: StackName, line: string, more: Partial<Workload> = {}): Workload =>
  write(name, stack, line, { copiesUp: true, group: 'change', ...more })

const fio = (options: string, file = 'large'): string =>
  `fio --name=job --output-format=json --bs=128k --filename=${file} --invalidate=0 ${options}`

/** What fio takes for its start and end, 300 ms, is not in it; what it has written is synced. */
function fioClock(stdout: string): number {
  const { jobs } = JSON.parse(stdout) as { jobs: Record<'read' | 'write', { runtime: number }>[] }
  const [job] = jobs
  if (job === undefined) throw new Error('fio tells of no job')
  return job.read.runtime + job.write.runtime
}

const readByFio = (name: string, options: string): Workload => ({
  ...read(name, 'large', fio(options), 'data'),
  clock: fioClock,
})

const GIT_STATUS = read('git status', 'repo', 'cd repo && git --no-optional-locks status --short > /dev/null')
const GREP = read('grep -r', 'tree', 'grep -r no-such-text-anywhere . || true', 'data')
const RANDOM_READ = readByFio('random read', '--rw=randread --bs=4k --size=256M')

export const WORKLOADS: readonly Workload[] = [
  read('find', 'tree', 'find . > /dev/null'),
  read('ls -lR', 'tree', 'ls -lR . > /dev/null'),
  read('du', 'tree', 'du -s . > /dev/null'),
  read('stat storm', 'tree', 'tr "\\n" "\\0" < $DATA/tree.files | xargs -0 stat -c %s > /dev/null'),
  read(
    'absent names',
    'tree',
    'sed "s/$/.none/" $DATA/tree.files | tr "\\n" "\\0" | (xargs -0 stat -c %s > /dev/null 2>&1 || true)',
  ),
  read('ls -l 100k', 'flat', 'ls -l flat > /dev/null'),
  GIT_STATUS,
  read('naive diff', 'tree', 'getfattr -R -h -d -m - . > /dev/null'),
  read('find, 1 layer', 'tree1', 'find . > /dev/null'),
  read('find, 10 layers', 'tree10', 'find . > /dev/null'),
  read('find, 100 layers', 'tree100', 'find . > /dev/null'),
  read('find Debian', 'debian', 'find . > /dev/null'),
  read('tar Debian', 'debian', 'tar cf - . | cat > /dev/null', 'data'),
  read('2 x find', 'tree', 'for i in 1 2; do find . -size +1M > /dev/null & done; wait'),
  read('8 x find', 'tree', 'for i in 1 2 3 4 5 6 7 8; do find . -size +1M > /dev/null & done; wait'),
  GREP,
  read('tar out', 'tree', 'tar cf - . | cat > /dev/null', 'data'),
  read('2 x grep', 'tree', 'grep -r no-such-text-1 . & grep -r no-such-text-2 . & wait', 'data'),
  read('cp out', 'tree', 'cp -r . $OUT', 'data'),
  alone(GREP),
  alone(RANDOM_READ),
  alone(GIT_STATUS),
  readByFio('seq read', '--rw=read --size=1G'),
  readByFio('seq read, first 256 MB', '--rw=read --size=256M'),
  RANDOM_READ,
  readByFio('direct read', '--rw=read --size=1G --direct=1'),
  readByFio('mmap read', '--rw=randread --bs=4k --size=256M --ioengine=mmap'),
  write('tar in', 'tree', 'mkdir new && tar xf $DATA/tree.tar -C new'),
  write('cp in', 'tree', 'cp -r $DATA/repo/plain/. new'),
  write('cp within', 'repo', 'cp -r repo new'),
  write('create 10k', 'flat', 'mkdir new && cd new && for ((i = 0; i < 10000; i++)); do : > f$i; done'),
  write(
    'create 10k, 64 B',
    'flat',
    'mkdir new && cd new && for ((i = 0; i < 10000; i++)); do echo 0123456789012345678901234567890123456789012345678901234567890123 > f$i; done',
  ),
  write('create in 100k', 'flat', 'cd flat && for ((i = 0; i < 2000; i++)); do : > new$i; done'),
  write('git clone', 'repo', 'git clone -q repo clone'),
  write(
    'npm ci',
    'flat',
    'mkdir project && cd project && cp $DATA/npm/package*.json . && npm ci --offline --ignore-scripts --no-audit --no-fund --loglevel error --cache $DATA/npm-cache',
  ),
  write('make -j2', 'flat', 'cp -r $DATA/project . && cd project && make -s -j2'),
  write(
    'sqlite WAL',
    'flat',
    `sqlite3 db 'pragma journal_mode=wal; create table t (a, b)' > /dev/null && for ((i = 0; i < 3000; i++)); do echo "insert into t values ($i, hex(randomblob(100)));"; done | sqlite3 db`,
  ),
  write('seq write', 'flat', fio('--rw=write --size=1G --end_fsync=1', 'new'), { clock: fioClock }),
  write('random write', 'flat', fio('--rw=randwrite --bs=4k --size=256M --end_fsync=1', 'new'), {
    before: 'head -c 256M /dev/zero > new',
    clock: fioClock,
  }),
  change(
    'append to *.h',
    'tree',
    "find . -name '*.h' -print0 | while IFS= read -r -d '' f; do echo more >> \"$f\"; done",
  ),
  change('chmod -R', 'tree', 'chmod -R g-w .'.replace('g-w', 'o-x+r')),
  change('chown -R', 'tree', 'chown -R 12345:12345 .', { rootOnly: true }),
  change('rm -rf', 'tree', 'rm -rf ./*'),
  change('chown -R Debian', 'debian', 'chown -R 12345:12345 usr', { rootOnly: true }),
  change('rm -rf written', 'repo', 'rm -rf new', { before: 'cp -r repo new', copiesUp: false }),
  change(
    'git add, commit',
    'repo',
    'cd repo && for ((i = 0; i < 200; i++)); do echo new $i > new$i; done && git add -A . && git commit -qm three',
  ),
  change('git checkout', 'repo', 'cd repo && git checkout -q HEAD~1'),
  change('rename 2k', 'flat', 'cd flat && for ((i = 0; i < 40; i++)); do mv entry$i moved$i; done'),
  change('copy-up 64 MB', 'large', 'echo more >> middle'),
]
