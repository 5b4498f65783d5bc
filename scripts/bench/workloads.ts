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

const fio = (name: string, options: string, stack: StackName = 'large'): string =>
  `fio --name=${name} --output=/dev/null --bs=128k --filename=${stack} --size=256M --invalidate=0 ${options}`

const GIT_STATUS = read('git status', 'repo', 'cd repo && git --no-optional-locks status --short > /dev/null')
const GREP = read('grep -r', 'tree', 'grep -r no-such-text-anywhere . || true', 'data')
const RANDOM_READ = read('random read', 'large', fio('rand', '--rw=randread --bs=4k --io_size=64M'), 'data')

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
  read('seq read', 'large', fio('seq', '--rw=read'), 'data'),
  RANDOM_READ,
  read('direct read', 'large', fio('direct', '--rw=read --direct=1'), 'data'),
  read('mmap read', 'large', fio('mmap', '--rw=randread --bs=4k --io_size=64M --ioengine=mmap'), 'data'),
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
  write('seq write', 'flat', fio('write', '--rw=write', 'flat').replace('--filename=flat', '--filename=new')),
  write(
    'random write',
    'flat',
    fio('write', '--rw=randwrite --bs=4k --io_size=64M', 'flat').replace('--filename=flat', '--filename=new'),
    { before: 'head -c 256M /dev/zero > new' },
  ),
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
