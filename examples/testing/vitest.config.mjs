export default { test: { include: ['*.test.ts'], pool: 'forks' } }
