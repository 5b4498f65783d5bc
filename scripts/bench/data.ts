/** The trees that are measured: made once from files of this machine, and kept as stacks of layers. */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { must, USER } from './run.js'

export interface Stack {
  /** Topmost first. */
  lowers: string[]
  /** The merged tree as a plain directory. */
  plain: string
}

/** The stacks, and how many lowers each has. */
const LAYERS = {
  tree: 6,
  tree1: 1,
  tree10: 10,
  tree100: 100,
  debian: 6,
  flat: 1,
  repo: 1,
  large: 1,
} as const

export type StackName = keyof typeof LAYERS

/** Changes when the data do: data of another version are made anew. */
const VERSION = 5
const FILES = 20_000
const FLAT = 100_000
const REPO_FILES = 4_000

/** The trees of one owner. */
export class Data {
  readonly dir: string

  /** @param owner whose everything is: who is not the owner of a directory is asked for its ACL */
  constructor(
    private readonly under: string,
    private readonly owner: 'root' | 'user' = 'root',
  ) {
    this.dir = join(under, owner === 'root' ? 'data' : 'data-of-user')
  }

  /** What the lines of workloads refer to. @param out a scratch directory outside the mount */
  environment(out: string): Record<string, string> {
    return { DATA: this.dir, OUT: out, GIT_CONFIG_GLOBAL: join(this.dir, 'gitconfig') }
  }

  stack(name: StackName): Stack {
    return {
      lowers: Array.from({ length: LAYERS[name] }, (_, i) => join(this.dir, name, `layer${i}`)),
      plain: join(this.dir, name, 'plain'),
    }
  }

  /** Makes what is not there yet. */
  prepare(say: (line: string) => void): void {
    const stamp = join(this.dir, 'version')
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === String(VERSION)) return
    rmSync(this.dir, { recursive: true, force: true })
    if (this.owner === 'user') {
      const roots = new Data(this.under)
      roots.prepare(say)
      must(`cp -a ${roots.dir} ${this.dir} && chown -hR ${USER}: ${this.dir}`)
      return
    }
    say(`making the data in ${this.dir}`)
    mkdirSync(this.dir, { recursive: true })
    writeFileSync(join(this.dir, 'gitconfig'), GIT_CONFIG)
    this.tree()
    for (const name of ['tree1', 'tree10', 'tree100'] as const) this.spread(name)
    this.debian()
    this.npm()
    this.flat()
    this.repo()
    this.large()
    this.project()
    must(`chmod -R a+rX,u+w ${this.dir} && chown -hR root: ${this.dir}`)
    writeFileSync(stamp, String(VERSION))
  }

  /**
   * Files of /usr, spread over layers that share most of their directories: one file in fifty lies in two layers, and
   * one in a hundred is whited out again.
   */
  private tree(): void {
    const found = must(
      `find /usr/share /usr/include /usr/lib -xdev -type f -size -256k -printf '%P\\0' | LC_ALL=C sort -z | tr '\\0' '\\n' | awk 'NR <= ${FILES}' `,
    )
    const names = found.split('\n').filter((name) => name !== '')
    const { lowers, plain } = this.stack('tree')
    const lists: string[][] = lowers.map(() => [])
    for (const [i, name] of names.entries()) {
      const at = i % LAYERS.tree
      lists[at]?.push(name)
      if (i % 50 === 0) lists[(at + 1) % LAYERS.tree]?.push(name)
    }
    for (const [i, lower] of lowers.entries()) {
      mkdirSync(lower, { recursive: true })
      const list = join(this.dir, `list${i}`)
      writeFileSync(list, `${lists[i]?.join('\n')}\n`)
      must(
        `for top in share include lib; do cd /usr/$top; grep -v '^$' ${list} | while read -r f; do [ -f "$f" ] && echo "$f"; done > ${list}.$top || true; tar cf - --no-recursion -T ${list}.$top | tar xf - -C ${lower}; done`,
      )
    }
    this.whiteouts(lowers[0] as string, lists[LAYERS.tree - 1] ?? [])
    this.merge('tree', lowers, plain)
    must(`tar cf ${join(this.dir, 'tree.tar')} -C ${plain} .`)
    must(
      `cd ${plain} && find . -type f | LC_ALL=C sort -R --random-source=<(yes) > ${join(this.dir, 'tree.files')}`,
    )
  }

  /** The merged tree again, its files dealt out to so many layers. */
  private spread(name: StackName): void {
    const { lowers, plain } = this.stack(name)
    mkdirSync(join(this.dir, name))
    symlinkSync('../tree/plain', plain)
    const files = must(`cd ${plain}/. && find . -type f`).trim().split('\n')
    for (const [i, lower] of lowers.entries()) {
      mkdirSync(lower)
      writeFileSync(join(this.dir, 'list'), files.filter((_, at) => at % lowers.length === i).join('\n'))
      must(`cd ${plain}/. && cpio -pdm --quiet ${lower} < ${join(this.dir, 'list')}`)
    }
  }

  /** A Debian root: the files of its packages dealt out by package, as a line of a Containerfile each would have them. */
  private debian(): void {
    const { lowers, plain } = this.stack('debian')
    mkdirSync(join(this.dir, 'debian'))
    must(`mmdebstrap --quiet --variant=standard --skip=check/empty bookworm ${plain}`)
    must(
      `cd ${plain} && ls var/lib/dpkg/info/*.list | awk '{ print > ("${this.dir}/packages" (NR % 5)) }'
       mkdir ${lowers.join(' ')}
       for i in 0 1 2 3 4; do
         xargs cat < ${this.dir}/packages$i | sed 's/^/./' | while IFS= read -r f; do [ -d "$f" ] || [ ! -e "$f" -a ! -L "$f" ] || printf '%s\\n' "$f"; done |
           cpio -pdm --quiet ${join(this.dir, 'debian')}/layer$i
       done
       cp -a ${plain}/. ${lowers[5]}
       for i in 0 1 2 3 4; do (cd ${join(this.dir, 'debian')}/layer$i && find . ! -type d -print0) | (cd ${lowers[5]} && xargs -0 rm -f); done`,
    )
  }

  /** This project's own packages in a cache of npm's, for an install without a network. */
  private npm(): void {
    const dir = join(this.dir, 'npm')
    mkdirSync(dir)
    must(
      `cp ${join(import.meta.dirname, '../..')}/package*.json ${dir} && cd ${dir} &&
       npm ci --ignore-scripts --no-audit --no-fund --loglevel error --cache ${this.dir}/npm-cache && rm -rf node_modules`,
    )
  }

  private whiteouts(layer: string, names: readonly string[]): void {
    const some = names.filter((_, i) => i % 17 === 0)
    for (const name of some) mkdirSync(dirname(join(layer, name)), { recursive: true })
    writeFileSync(join(this.dir, 'whiteouts'), `${some.join('\n')}\n`)
    must(
      `cd ${layer} && while read -r f; do [ -e "$f" ] || mknod "$f" c 0 0; done < ${join(this.dir, 'whiteouts')}`,
    )
  }

  /** The kernel's overlayfs says what the merged tree is. */
  private merge(name: StackName, lowers: readonly string[], plain: string): void {
    const seen = join(this.dir, name, 'merged')
    mkdirSync(seen)
    mkdirSync(plain)
    must(`mount -t overlay overlay -o ro,lowerdir=${lowers.join(':')} ${seen}`)
    try {
      must(`cp -a ${seen}/. ${plain}`)
    } finally {
      must(`umount ${seen}`)
    }
    rmSync(seen, { recursive: true })
  }

  private single(name: StackName, make: string): void {
    const { lowers, plain } = this.stack(name)
    mkdirSync(lowers[0] as string, { recursive: true })
    must(make, { cwd: lowers[0] as string })
    symlinkSync('layer0', plain)
  }

  private flat(): void {
    this.single('flat', `mkdir flat && cd flat && for ((i = 0; i < ${FLAT}; i++)); do : > entry$i; done`)
  }

  private repo(): void {
    const { plain } = this.stack('tree')
    this.single(
      'repo',
      `export GIT_CONFIG_GLOBAL=${join(this.dir, 'gitconfig')}
       git init -q repo && cd repo
       (cd ${plain} && find . -type f -size -32k | LC_ALL=C sort | awk 'NR % 5 == 0' | head -n ${REPO_FILES} || true) > ../list
       tar cf - -C ${plain} -T ../list | tar xf -
       git add -A . && git commit -qm one
       head -n 400 ../list | while read -r f; do echo more >> "$f"; done
       git commit -qam two && rm ../list`,
    )
  }

  private large(): void {
    this.single('large', 'head -c 1G /dev/urandom > large && head -c 64M /dev/urandom > middle')
  }

  /** A project in C of sixty sources. */
  private project(): void {
    const dir = join(this.dir, 'project')
    mkdirSync(dir)
    const count = 60
    for (let i = 0; i < count; i++) {
      const body = Array.from(
        { length: 40 },
        (_, k) => `int f${i}_${k}(int x) { return x * ${k} + (int)strlen("f${i}"); }`,
      )
      writeFileSync(
        join(dir, `part${i}.c`),
        `#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n${body.join('\n')}\n`,
      )
    }
    const parts = Array.from({ length: count }, (_, i) => `part${i}.o`).join(' ')
    writeFileSync(join(dir, 'main.c'), 'int main(void) { return 0; }\n')
    writeFileSync(
      join(dir, 'Makefile'),
      `program: main.o ${parts}\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -c -o $@ $<\n`,
    )
  }
}

const GIT_CONFIG = `[safe]
  directory = *
[user]
  name = Bench
  email = bench@example.org
[init]
  defaultBranch = main
[gc]
  auto = 0
`
