// Runs a script of this package under Node 24: node services/entry/node24.cjs SCRIPT [ARGUMENTS]
'use strict'
const path = require('node:path')
require('./tidemark.cjs').run(path.resolve(process.argv[2]), process.argv.slice(3))
