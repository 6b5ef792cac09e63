// The folder for temporary files of a run: in memory where the machine has plenty. Making a database takes a tenth of the
// processor's time there, and no test looks at what a power cut leaves.
'use strict'
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const PLACE = '/dev/shm'
const PREFIX = 'tidemark-run-'
const TMPFS = 0x01021994
/** What a run takes at most, several times over. */
const ROOM = 8 * 1024 * 1024 * 1024

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function sweep() {
  for (const name of fs.readdirSync(PLACE)) {
    if (!name.startsWith(PREFIX) || isAlive(Number(name.slice(PREFIX.length)))) continue
    // Another account's is not ours to take away.
    try {
      fs.rmSync(path.join(PLACE, name), { recursive: true, force: true })
    } catch (error) {
      if (error.code !== 'EPERM' && error.code !== 'EACCES') throw error
    }
  }
}

function hasRoom() {
  const found = fs.statfsSync(PLACE)
  const memory = process.availableMemory === undefined ? os.freemem() : process.availableMemory()
  return found.type === TMPFS && found.bavail * found.bsize > ROOM && memory > 2 * ROOM
}

/** Many containers mount it without the right to run programs: the servers' are copied there. */
function runsPrograms(folder) {
  const program = path.join(folder, 'program')
  fs.writeFileSync(program, '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  const { status } = spawnSync(program)
  fs.rmSync(program)
  return status === 0
}

/** Sets TMPDIR for this process and those that it starts, unless somebody else did. */
function takeMemoryFolder() {
  if (process.env.TMPDIR !== undefined || process.platform !== 'linux' || !fs.existsSync(PLACE)) return
  sweep()
  if (!hasRoom()) return
  const folder = path.join(PLACE, PREFIX + process.pid)
  fs.mkdirSync(folder, { mode: 0o755 })
  process.on('exit', function () {
    fs.rmSync(folder, { recursive: true, force: true })
  })
  if (runsPrograms(folder)) process.env.TMPDIR = folder
}

module.exports = { takeMemoryFolder: takeMemoryFolder }
