/**
 * Random histories of everything that a database goes through, restored at several points and the end: rows, catalog,
 * rights and sequences must be the source's, or the restore's report must say what is not. TIDEMARK_SEED=n runs one again;
 * TIDEMARK_HISTORIES=n runs that many, with the seeds behind it.
 */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { TidemarkError } from '../../services/core/errors.ts'
import { random } from '../../services/demo/chat-traffic.ts'
import type { RestoreReport } from '../../services/app/restore.ts'
import { Backup, serverUrl, testedVersions } from '../support/backup.ts'
import { findPgDump } from '../support/dump-oracle.ts'
import { GrownHistory } from '../support/grown-history.ts'
import { see, type Seen, untold } from '../support/grown-oracle.ts'

const SOAK = process.env['TIDEMARK_TEST_SCOPE'] === 'soak'
/** Short runs take the same history each time; what is new is found by `npm run test:soak`. */
const SEED = Number(process.env['TIDEMARK_SEED'] ?? (SOAK ? Math.floor(Math.random() * 2 ** 31) : 1))
/** Points whose schema is read before it changes again: then nothing but what is not covered may differ. */
const READ_AT_POINTS = Number(process.env['TIDEMARK_READ_AT_POINTS'] ?? (SOAK ? 0.5 : 1))
const HISTORIES = Number(process.env['TIDEMARK_HISTORIES'] ?? (SOAK ? 20 : 1))
const STEPS = Number(process.env['TIDEMARK_STEPS'] ?? (SOAK ? 60 : 24))
const POINTS = SOAK ? 3 : 2
const pgDump = findPgDump()

async function withRoles(
  version: string,
  action: (roles: readonly string[]) => Promise<void>,
): Promise<void> {
  const admin = new pg.Client(serverUrl(version))
  await admin.connect()
  const suffix = randomBytes(4).toString('hex')
  const roles = ['a', 'b', 'c'].map((letter) => `role_${letter}_${suffix}`)
  try {
    for (const role of roles) await admin.query(`CREATE ROLE ${role}`)
    await action(roles)
  } finally {
    for (const role of roles) await admin.query(`DROP ROLE IF EXISTS ${role}`)
    await admin.end()
  }
}

/** Restores, without the tables whose gap the point lies in: those are named by the refusal. */
async function restoreAround(
  backup: Backup,
  at: string,
): Promise<{ report: RestoreReport & { readonly url: string }; except: string[] }> {
  const except: string[] = []
  for (;;)
    try {
      return { report: await backup.restore(at, { exceptTables: [...except] }), except }
    } catch (error) {
      const name =
        error instanceof TidemarkError && error.code === 'GAP'
          ? /--except-table (\S+)/.exec(error.next)?.[1]
          : undefined
      if (name === undefined || except.includes(name)) throw error
      except.push(name)
    }
}

async function oneHistory(
  version: string,
  seed: number,
  dump: string,
  roles: readonly string[],
): Promise<string[]> {
  const next = random(seed)
  await using backup = await Backup.start({
    version,
    rollMs: 300,
    segmentBytes: 256 * 1024,
    setup: `CREATE SCHEMA side; GRANT ALL ON SCHEMA public, side TO ${roles.join(', ')}`,
  })
  const history = new GrownHistory(backup.source, next, roles, Number(version))
  const points: Seen[] = []
  for (let step = 1; step <= STEPS; step++) {
    await history.step()
    if (step % Math.floor(STEPS / POINTS) !== 0 && step !== STEPS) continue
    await history.settle()
    history.script.push(`-- point ${points.length}`)
    points.push(await see(dump, backup.sourceUrl))
    if (next() < READ_AT_POINTS) await backup.durable()
  }
  await backup.durable()
  const found: string[] = []
  for (const [index, point] of points.entries()) {
    const last = index === points.length - 1
    const { report, except } = await restoreAround(backup, last ? 'latest' : point.at)
    if (report.unmadeFile !== null) await rm(report.unmadeFile)
    const unsaid = await untold(dump, point, report, except)
    if (unsaid.length > 0)
      found.push(
        `point ${index}${except.length === 0 ? '' : ` without ${except.join(', ')}`}, notes: ${JSON.stringify(report.result?.notes)}, unmade: ${JSON.stringify(report.result?.unmade.map((u) => `${u.object}: ${u.reason}`))}`,
        ...unsaid,
      )
  }
  const counts = [...history.taken.values()].reduce(([a, b], [x, y]) => [a + x, b + y], [0, 0])
  const line = `PostgreSQL ${version}, seed ${seed}: ${counts[0]} statements, ${counts[1]} refused, ${points.length} points`
  console.log(line)
  if (process.env['TIDEMARK_REFUSALS'] !== undefined)
    console.log([...history.refusals].sort((a, b) => b[1] - a[1]).slice(0, 40), history.taken)
  if (found.length > 0) {
    const script = join(tmpdir(), `grown-history-${version}-${seed}.sql`)
    writeFileSync(script, `${history.script.join('\n')}\n`)
    found.unshift(`${line}; what ran: ${script}`)
    // At once: a long run tells what it found before it ends.
    console.log(found.join('\n'))
  }
  return found
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test.for(Array.from({ length: HISTORIES }, (_, i) => SEED + i))(
    'a history of everything comes back, or the restore says what does not (seed %i)',
    { timeout: 600_000 },
    async (seed, context) => {
      if ('missing' in pgDump) return context.skip(pgDump.missing)
      await withRoles(version, async (roles) => {
        expect(await oneHistory(version, seed, pgDump.path, roles)).toEqual([])
      })
    },
  )
})
