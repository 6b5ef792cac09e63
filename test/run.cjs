// npm test: the same run everywhere. Runs vitest under Node 24 and ends with a plain line of its totals.
'use strict'
const path = require('node:path')
const { takeMemoryFolder } = require('./support/memory-folder.cjs')
const args = process.argv.slice(2)
process.env.TIDEMARK_TEST_SCOPE = args.includes('--soak')
  ? 'soak'
  : args.includes('--all-versions')
    ? 'all-versions'
    : args.includes('--stores')
      ? 'stores'
      : args.includes('--quick')
        ? 'quick'
        : 'default'
// Both together: long histories on every version.
if (args.includes('--all-versions')) process.env.TIDEMARK_TEST_VERSIONS = 'all'
const hours = args.indexOf('--hours')
if (hours >= 0) process.env.TIDEMARK_HOURS = args[hours + 1]
const rest = args.filter(function (a, i) {
  return (
    a !== '--soak' &&
    a !== '--all-versions' &&
    a !== '--stores' &&
    a !== '--quick' &&
    (hours < 0 || (i !== hours && i !== hours + 1))
  )
})
// With --hours alone, what has no end of its own but that.
if (hours >= 0 && rest.length === 0) rest.push('test/integration/grown-history')
// A soak's files may outgrow it.
if (process.env.TIDEMARK_TEST_SCOPE !== 'soak') takeMemoryFolder()
require('../services/entry/tidemark.cjs').run(path.join(__dirname, 'run-vitest.ts'), rest)
