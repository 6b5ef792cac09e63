#!/usr/bin/env node
// The command itself, under whatever `node` the machine has: Node >= 24 runs the TypeScript as it is; an older one
// starts the Node 24 that came with the packages. Written for old Nodes: no syntax newer than 2018.
'use strict'
const { spawn } = require('node:child_process')
const path = require('node:path')

function packagedNode() {
  try {
    return path.join(
      path.dirname(require.resolve('node-' + process.platform + '-' + process.arch + '/package.json')),
      'bin',
      'node',
    )
  } catch (error) {
    return undefined
  }
}

function run(script, args) {
  if (Number(process.versions.node.split('.')[0]) >= 24) {
    process.argv = [process.argv[0], script].concat(args)
    import(require('node:url').pathToFileURL(script).href).catch(function (error) {
      console.error(error)
      process.exitCode = 1
    })
    return
  }
  const node = packagedNode()
  if (node === undefined) {
    console.error(
      'Tidemark needs Node 24 or newer; this is ' +
        process.version +
        ', and there is no packaged one for ' +
        process.platform +
        '-' +
        process.arch +
        '.\nNext: install Node 24, then the same command.',
    )
    process.exitCode = 1
    return
  }
  const child = spawn(node, [script].concat(args), { stdio: 'inherit' })
  ;['SIGTERM', 'SIGINT', 'SIGHUP'].forEach(function (signal) {
    // A terminal sends SIGINT to both; the child decides when to end.
    process.on(signal, function () {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  })
  child.on('exit', function (code, signal) {
    process.exit(code === null ? 128 + (require('node:os').constants.signals[signal] || 0) : code)
  })
}

module.exports = { run: run, packagedNode: packagedNode }
if (require.main === module) run(path.join(__dirname, 'tidemark.ts'), process.argv.slice(2))
