// What bin/launch.sh starts and waits for: PROGRAM WORDS...
const [program, ...words] = process.argv.slice(2)

async function main() {
  const { launched } = process.platform === 'linux' ? require('../dist/bundle/launched.cjs') : {}
  if (!(await launched?.(program, words))) await (await import(`../dist/bundle/${program}.js`)).main(words)
}

main()
