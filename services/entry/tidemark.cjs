#!/usr/bin/env node
// The command itself, under whatever `node` the machine has: Node >= 24 runs the TypeScript as it is; an older one
// starts the Node 24 that came with the packages. Written for old Nodes: no syntax newer than 2018.
'use strict'
const { spawn } = require('node:child_process')
const path = require('node:path')
const { keepCompiled } = require('./compiled.cjs')

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

/**
 * npm and the shell between pass no SIGTERM on: `npx tidemark up` would go on without them, with slot and port. So what
 * npm started ends when whatever stands between it and npm does.
 */
function onceNpmIsGone(stop) {
  if (process.env.npm_command === undefined) return
  const parent = process.ppid
  const timer = setInterval(function () {
    if (process.ppid === parent) return
    clearInterval(timer)
    stop()
  }, 250)
  timer.unref()
}

/** Starts the script. The command itself is tied to this process by a channel (launched.ts); others get the signals. */
function start(node, script, args) {
  const tied = path.basename(script) === 'tidemark.ts'
  const env = tied ? Object.assign({}, process.env, { TIDEMARK_LAUNCHED: '1' }) : process.env
  const stdio = ['inherit', 'inherit', 'inherit'].concat(tied ? ['ipc'] : [])
  const child = spawn(node, [script].concat(args), { stdio: stdio, env: env })
  ;['SIGTERM', 'SIGINT', 'SIGHUP'].forEach(function (signal) {
    process.on(signal, function () {
      if (tied) {
        if (child.connected) child.send({ signal: signal })
      } else if (signal !== 'SIGINT' || !process.stdin.isTTY) {
        // A terminal sends SIGINT to both; the child decides when to end.
        child.kill(signal)
      }
    })
  })
  return child
}

function run(script, args) {
  keepCompiled()
  if (Number(process.versions.node.split('.')[0]) >= 24) {
    process.argv = [process.argv[0], script].concat(args)
    onceNpmIsGone(function () {
      process.kill(process.pid, 'SIGTERM')
    })
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
  const child = start(node, script, args)
  onceNpmIsGone(function () {
    process.kill(process.pid, 'SIGTERM')
  })
  child.on('exit', function (code, signal) {
    process.exit(code === null ? 128 + (require('node:os').constants.signals[signal] || 0) : code)
  })
}

module.exports = { run: run, packagedNode: packagedNode }
if (require.main === module) run(path.join(__dirname, 'tidemark.ts'), process.argv.slice(2))
