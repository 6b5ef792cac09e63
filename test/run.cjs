// npm test: the same run everywhere. Runs vitest under Node 24 and ends with a plain line of its totals.
'use strict'
const path = require('node:path')
const args = process.argv.slice(2)
process.env.TIDEMARK_TEST_SCOPE = args.includes('--soak')
  ? 'soak'
  : args.includes('--all-versions')
    ? 'all-versions'
    : 'default'
const rest = args.filter(function (a) {
  return a !== '--soak' && a !== '--all-versions'
})
require('../services/entry/tidemark.cjs').run(path.join(__dirname, 'run-vitest.ts'), rest)
