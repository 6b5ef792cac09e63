// Keeps what the modules were compiled to, so that the next start takes half a second less of the processor. Written for
// old Nodes, as tidemark.cjs.
'use strict'
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

/** What is kept is code: a folder of this account alone, never the shared one for temporary files that Node would take. */
function ownFolder() {
  const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache')
  const folder = path.join(cache, 'tidemark', 'compiled')
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const found = fs.lstatSync(folder)
  const isOurs = found.isDirectory() && found.uid === process.getuid() && (found.mode & 0o022) === 0
  return isOurs ? folder : undefined
}

/** For this process and those that it starts. Where there is no such folder, everything is compiled anew. */
function keepCompiled() {
  if (process.env.NODE_COMPILE_CACHE === undefined && process.env.NODE_DISABLE_COMPILE_CACHE === undefined) {
    try {
      const folder = ownFolder()
      if (folder !== undefined) process.env.NODE_COMPILE_CACHE = folder
    } catch (error) {
      // No home, a read-only one, or a platform without accounts: slower, and nothing else.
    }
  }
  const enable = require('node:module').enableCompileCache
  if (enable !== undefined && process.env.NODE_COMPILE_CACHE !== undefined) enable()
}

module.exports = { keepCompiled: keepCompiled }
