/** Programs that ask much of a filesystem, over a mount whose prepared files lie in a lower. */
import fs from 'node:fs'
import { watch } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compareTrees } from '../support/tree.js'
import { Mounted } from './mounted.js'

/** A tree with all that rsync and tar know to keep. Its times are old: rsync takes those of one second for the same. */
const RICH = `
  mkdir -p tree/dir/deep tree/empty
  echo data >tree/dir/file; ln tree/dir/file tree/dir/deep/linked; ln -s ../dir/file tree/empty/symlink
  truncate -s 1M tree/sparse; echo end >>tree/sparse
  mkfifo -m 640 tree/fifo; install -m 4755 -o 1 -g 2 /dev/null tree/setuid
  setfattr -n user.note -v 'a note' tree/dir/file; setfattr -n trusted.note -v rooted tree/dir
  setfacl -m u:7:rw,g:8:r tree/dir/file; setfacl -d -m u:7:rwx tree/dir/deep
  find tree -exec touch -h -d '2001-02-03 04:05:06.789' {} +
`

/** Declares the tests, over a transport. */
export function programs(transport: Mounted['transport']): void {
  let m: Mounted
  beforeEach(() => {
    m = new Mounted(transport)
  })
  afterEach(() => m.remove())

  describe('git', () => {
    it('works on a repository of a lower: commit, branch, gc, fsck, clone, and after a remount', () => {
      m.sh(
        `git init -q -b main repo; cd repo
       for i in $(seq 50); do echo "$i" >file$i; done; mkdir sub; echo sub >sub/file
       git add .; git commit -qm one; echo two >>file1; git commit -qam two`,
        m.lower,
      )
      m.mount()
      m.sh(`cd repo; test -z "$(git status --porcelain)"
      git mv file2 sub/moved; echo three >>file1; git rm -q file3; git commit -qam three
      git checkout -q -b side HEAD~1; test "$(cat file3)" = 3; git mv file9 other; git commit -qm renamed
      git checkout -q main; git merge -q -m merged side; git gc -q --prune=now; git fsck --strict
      git clone -q . ../clone; cd ../clone; git fsck --strict; test -z "$(git status --porcelain)"`)
      m.remount()
      m.sh(
        `cd repo; git fsck --strict; test -z "$(git status --porcelain)"; test -f other; test -f sub/moved; test ! -e file9`,
      )
    })
  })

  describe('sqlite', () => {
    it('is written in WAL mode by two processes at once, the database in a lower', () => {
      m.sh(
        `sqlite3 db 'pragma journal_mode=wal; create table t(who, n); insert into t values(0, 0)'`,
        m.lower,
      )
      m.mount()
      m.sh(`write() { for n in $(seq 40); do echo "insert into t values($1, $n);"; done | sqlite3 -cmd '.timeout 30000' db; }
      write 1 & first=$!; write 2 & second=$!; wait $first; wait $second`)
      expect(
        m.sh(`sqlite3 db 'pragma integrity_check; select count(*), sum(n) from t; pragma journal_mode'`),
      ).toBe('ok\n81|1640\nwal')
      m.remount()
      expect(m.sh(`sqlite3 db 'pragma integrity_check; select count(*) from t'`)).toBe('ok\n81')
      expect(m.sh(`sqlite3 db 'select count(*) from t'`, m.lower)).toBe('1')
    })
  })

  describe('rsync', () => {
    it('copies in and out with hard links, ACLs and xattrs, and finds no difference', () => {
      m.sh(RICH, m.dir)
      m.mount()
      const sync = 'rsync --delete -aHAXS'
      m.sh(`${sync} "$DIR/tree/" in/; ${sync} in/ "$DIR/out/"`)
      expect(
        m.sh(`${sync}nic "$DIR/tree/" in/; ${sync}nic in/ "$DIR/out/"; ${sync}nic "$DIR/out/" in/`),
      ).toBe('')
      expect(compareTrees(path.join(m.dir, 'tree'), path.join(m.mnt, 'in'))).toEqual([])
    })

    it('makes a tree of a lower into another one', () => {
      m.sh(
        `${RICH} cp -a tree "$DIR/new"; cd "$DIR/new"; rm -r dir/deep; echo changed >dir/file; mkdir fresh
        find . -type d -exec touch -d 2002-02-02 {} +`,
        m.lower,
      )
      m.mount()
      m.sh(`rsync -aHAXS --delete "$DIR/new/" tree/`)
      m.remount()
      // fuse-native sets times to the millisecond: docs/transports.md, nanoseconds.
      const without = transport === 'kernel' ? [] : (['mtime'] as const)
      expect(compareTrees(path.join(m.dir, 'new'), path.join(m.mnt, 'tree'), { without })).toEqual([])
    })
  })

  describe('tar', () => {
    it('packs and unpacks xattrs, ACLs, sparse files and hard links of a lower', () => {
      m.sh(RICH, m.lower)
      m.mount()
      const flags = `--xattrs --xattrs-include='*' --acls --sparse --numeric-owner`
      m.sh(`tar ${flags} -cf "$DIR/all.tar" tree; mkdir again; tar ${flags} -xpf "$DIR/all.tar" -C again`)
      const differ = compareTrees(path.join(m.lower, 'tree'), path.join(m.mnt, 'again/tree'), {
        without: ['mtime'],
      })
      expect(differ).toEqual([])
      expect(Number(m.sh('stat -c %b again/tree/sparse'))).toBeLessThan(64)
    })
  })

  describe('make', () => {
    it('builds with many jobs and knows what is up to date', () => {
      const makefile = `parts := $(patsubst %.in,%.out,$(wildcard src/*.in))
all: whole
whole: $(parts)
\tcat $^ >$@
%.out: %.in
\tsed s/in/out/ $< >$@.tmp && mv $@.tmp $@
`
      m.sh(`mkdir src; for i in $(seq -w 60); do echo "in $i" >src/part$i.in; done`, m.lower)
      fs.writeFileSync(path.join(m.lower, 'Makefile'), makefile)
      m.mount()
      m.sh('make -s -j8')
      expect(m.sh('wc -l <whole; make -q && echo fresh')).toBe('60\nfresh')
      m.sh('sleep 0.02; echo "in changed" >src/part07.in')
      expect(m.sh('make -n | grep -c sed')).toBe('1')
      m.sh('make -s -j8; grep -q "out changed" whole; rm -r src/*.out; make -s -j8; make -q')
    })
  })

  describe('a C project', () => {
    it('built on the lower is up to date on the mount, and is built anew by many jobs as its headers change', () => {
      const makefile = `CFLAGS := -Iinclude -MMD
objects := $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))
program: build/main.o build/libparts.a
\t$(CC) -o $@ $^
build/libparts.a: $(filter-out build/main.o,$(objects))
\tar rc $@ $^
build/%.o: src/%.c
\t$(CC) $(CFLAGS) -c -o $@ $<
-include $(objects:.o=.d)
`
      m.sh(
        `mkdir src include build; echo '#define STEP 1' >include/step.h; echo >include/parts.h
       for i in $(seq 16); do
         echo "int part$i(void);" >>include/parts.h
         printf '#include "parts.h"\\n#include "step.h"\\nint part%s(void) { return STEP; }\\n' $i >src/part$i.c
       done
       { printf '#include <stdio.h>\\n#include "parts.h"\\nint main(void) { int sum = 0;\\n'
         for i in $(seq 16); do echo "sum += part$i();"; done
         echo 'return !printf("%d", sum); }'; } >src/main.c`,
        m.lower,
      )
      fs.writeFileSync(path.join(m.lower, 'Makefile'), makefile)
      m.sh('make -s -j4', m.lower)
      m.mount()
      expect(m.sh('make -q; ./program')).toBe('16')
      m.sh(`sleep 0.02; echo '#define STEP 3' >include/step.h`)
      expect(m.sh('make -n | grep -c -- -MMD')).toBe('16')
      expect(m.sh('make -s -j8; ./program; make -q')).toBe('48')
      m.remount()
      expect(
        m.sh('make -q; ./program; cd src; sed -i s/STEP/100/ part5.c; cd ..; make -s -j8; ./program'),
      ).toBe('48145')
      expect(m.sh('./program', m.lower)).toBe('16')
    })
  })

  describe('mappings', () => {
    it('of a lower file see what another process writes through its own, after the copy-up', () => {
      m.sh(`head -c 65536 /dev/zero >file`, m.lower)
      m.mount()
      const until = `
import mmap, os, sys, time
def until(holds):
    end = time.monotonic() + 30
    while not holds():
        if time.monotonic() > end: sys.exit("waited in vain")
        time.sleep(0.005)
`
      const reader = `${until}
file = open("file", "rb")
shared = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
assert shared[0] == 0 and shared[60000] == 0
open(os.environ["DIR"] + "/mapped", "w")
for turn in range(1, 6):
    until(lambda: shared[0] == turn and shared[60000] == turn)
    open(os.environ["DIR"] + f"/seen{turn}", "w")
`
      const writer = `${until}
until(lambda: os.path.exists(os.environ["DIR"] + "/mapped"))
file = open("file", "r+b")
shared = mmap.mmap(file.fileno(), 0)
for turn in range(1, 6):
    shared[0] = shared[60000] = turn
    until(lambda: os.path.exists(os.environ["DIR"] + f"/seen{turn}"))
`
      fs.writeFileSync(path.join(m.dir, 'reader.py'), reader)
      fs.writeFileSync(path.join(m.dir, 'writer.py'), writer)
      m.sh(
        'python3 "$DIR/reader.py" & reader=$!; python3 "$DIR/writer.py" & writer=$!; wait $reader; wait $writer',
      )
      m.remount()
      expect(m.sh('od -An -tu1 -j60000 -N1 file')).toBe('5')
      expect(m.sh('od -An -tu1 -j60000 -N1 file', m.lower)).toBe('0')
    })
  })

  describe('npm', () => {
    it('installs from a lock file, twice', () => {
      m.sh(
        `mkdir -p app pack/package/lib; cd pack
       echo '{"name":"part","version":"1.0.0","bin":{"part":"lib/main.js"}}' >package/package.json
       printf '#!/usr/bin/env node\\nconsole.log("part")\\n' >package/lib/main.js
       tar -czf ../app/part-1.0.0.tgz package
       cd ../app; echo '{"name":"app","version":"1.0.0","dependencies":{"part":"file:part-1.0.0.tgz"}}' >package.json
       npm install --offline --no-audit --no-fund --no-update-notifier --cache "$DIR/cache" >/dev/null`,
        m.lower,
      )
      m.mount()
      const again =
        'npm ci --offline --no-audit --no-fund --no-update-notifier --cache "$DIR/cache" >/dev/null'
      expect(m.sh(`cd app; ${again}; ${again}; ./node_modules/.bin/part`)).toBe('part')
    })
  })

  describe('inotify', () => {
    it('tells of writes, new names and removals in a merged directory', async () => {
      m.sh('mkdir dir; echo a >dir/changed; echo b >dir/removed', m.lower)
      m.mount()
      const seen = new Set<string>()
      const expected = ['change changed', 'rename removed', 'rename made']
      const abort = new AbortController()
      const timer = setTimeout(() => abort.abort(), 20_000)
      const events = watch(path.join(m.mnt, 'dir'), { signal: abort.signal })
      const gathered = (async () => {
        for await (const { eventType, filename } of events) {
          seen.add(`${eventType} ${filename}`)
          if (expected.every((event) => seen.has(event))) return
        }
      })()
      m.sh('echo c >>dir/changed; rm dir/removed; echo d >dir/made')
      await gathered
      clearTimeout(timer)
      expect([...seen]).toEqual(expect.arrayContaining(expected))
    })
  })
}
