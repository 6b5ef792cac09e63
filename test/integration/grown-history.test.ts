/**
 * Random histories of everything that a database goes through, restored at several points and the end: rows, catalog,
 * rights and sequences must be the source's, or the restore's report must say what is not; and an older reading of the schema with the
 * records behind it must give what the newest one gives. TIDEMARK_SEED=n runs one again;
 * TIDEMARK_HISTORIES=n runs that many, with the seeds behind it. `npm run test:soak -- --hours N` runs for so long, writes a
 * line for each history, and goes on behind the last line of the run before (TIDEMARK_HISTORY_FILE).
 */
import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { TidemarkError } from '../../services/core/errors.ts'
import { parsePosition } from '../../services/core/position.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { gapsAt } from '../../services/repository/restorable.ts'
import { random } from '../../services/demo/chat-traffic.ts'
import type { RestoreReport } from '../../services/app/operations/restore.ts'
import { Backup, oneVersion, serverUrl, testedVersions } from '../support/backup.ts'
import { findPgDump } from '../support/dump-oracle.ts'
import { GrownHistory } from '../support/grown-history.ts'
import { leftOut, see, type Seen, untold } from '../support/grown-oracle.ts'
import { readingsAgree } from '../support/readings-agree.ts'

const SOAK = process.env['TIDEMARK_TEST_SCOPE'] === 'soak'
/** Short runs take the same history each time; what is new is found by `npm run test:soak`. */
const SEED = Number(process.env['TIDEMARK_SEED'] ?? (SOAK ? Math.floor(Math.random() * 2 ** 31) : 1))
/** Points whose schema is read before it changes again: then nothing but what is not covered may differ. */
const READ_AT_POINTS = Number(process.env['TIDEMARK_READ_AT_POINTS'] ?? (SOAK ? 0.5 : 1))
const HISTORIES = Number(process.env['TIDEMARK_HISTORIES'] ?? (SOAK ? 20 : 1))
const STEPS = Number(process.env['TIDEMARK_STEPS'] ?? (SOAK ? 60 : 24))
const POINTS = SOAK ? 5 : 2
/** Points that are a transaction right behind others, all of them commands at partitioned tables. */
const QUICK_POINTS = 0.7
const HOURS = Number(process.env['TIDEMARK_HOURS'] ?? 0)
/** A line for each history of a run by hours: version, seed, points, differences. */
const FILE = process.env['TIDEMARK_HISTORY_FILE'] ?? join(tmpdir(), 'tidemark-grown-histories.txt')
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
    for (const role of roles) await admin.query(`DROP ROLE IF EXISTS ${role}`)
  } finally {
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

function writeScript(version: string, seed: number, history: GrownHistory): string {
  const script = join(tmpdir(), `grown-history-${version}-${seed}.sql`)
  writeFileSync(script, `${history.script.join('\n')}\n`)
  return script
}

type Point = Seen & { readonly quick: Awaited<ReturnType<GrownHistory['quickly']>> }

/** The very transaction where there is one: no reading of the schema can be between it and the point. */
function pointOf({ at, quick }: Point, last: boolean): string {
  if (quick !== undefined) return `xid:${quick.xid}`
  return last ? 'latest' : at
}

async function oneHistory(
  version: string,
  seed: number,
  dump: string,
  roles: readonly string[],
): Promise<{ readonly found: readonly string[]; readonly points: number; readonly differences: number }> {
  const next = random(seed)
  await using backup = await Backup.start({
    version,
    rollMs: 300,
    segmentBytes: 256 * 1024,
    setup: `CREATE SCHEMA side; CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing; GRANT ALL ON SCHEMA public, side TO ${roles.join(', ')}`,
  })
  const history = new GrownHistory(backup.source, next, roles, Number(version))
  const points: Point[] = []
  for (let step = 1; step <= STEPS; step++) {
    await history.step()
    if (step % Math.floor(STEPS / POINTS) !== 0 && step !== STEPS) continue
    await history.settle()
    const quick = next() < QUICK_POINTS ? await history.quickly() : undefined
    history.script.push(`-- point ${points.length}`)
    points.push({ ...(await see(dump, backup.sourceUrl, history.script.length)), quick })
    if (next() < READ_AT_POINTS) await backup.durable()
  }
  await backup.durable()
  const found: string[] = []
  let differences = 0
  for (const [index, point] of points.entries()) {
    const last = index === points.length - 1
    const restored = restoreAround(backup, pointOf(point, last))
    restored.catch(() => writeScript(version, seed, history))
    const { report, except } = await restored
    if (report.unmadeFile !== null) await rm(report.unmadeFile)
    const { generation, gaps } = backup.repository.catalog
    const crossed = gapsAt(gaps, generation!, last ? generation!.end : parsePosition(point.at))
    const without = [
      ...leftOut(point, except, crossed),
      ...(point.quick === undefined ? [] : [point.quick.behind]),
    ]
    const opened = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })
    const unsaid = [
      ...(await untold(dump, point, report, without, history.script)),
      ...(await readingsAgree(opened.repository, pointOf(point, last), except)),
    ]
    differences += unsaid.length
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
    const script = writeScript(version, seed, history)
    found.unshift(`${line}; what ran: ${script}`)
    // At once: a long run tells what it found before it ends.
    console.log(found.join('\n'))
  }
  return { found, points: points.length, differences }
}

/** Histories until the time is over, over all versions in turn: one more each time that this is run again. */
async function histories(versions: readonly string[], dump: string): Promise<string[]> {
  const known = existsSync(FILE) ? readFileSync(FILE, 'utf8').trim().split('\n') : []
  const last = Number(/ seed (\d+)/.exec(known.at(-1) ?? '')?.[1] ?? SEED - 1)
  const deadline = performance.now() + HOURS * 3_600_000
  const failed: string[] = []
  for (let seed = last + 1; performance.now() < deadline; seed++) {
    const version = versions[seed % versions.length]!
    await withRoles(version, async (roles) => {
      const outcome = await oneHistory(version, seed, dump, roles).catch((error: unknown) => ({
        found: [],
        points: 0,
        differences: `failed: ${error instanceof Error ? error.message : String(error)}`.split('\n')[0]!,
        error,
      }))
      if ('error' in outcome) console.log(inspect(outcome.error))
      const line = `PostgreSQL ${version} seed ${seed}: ${outcome.points} points, differences: ${outcome.differences}`
      appendFileSync(FILE, `${line}\n`)
      if (outcome.differences !== 0) failed.push(line)
    })
  }
  return failed
}

if (HOURS > 0)
  test(`histories for ${HOURS} hours, a line each in ${FILE}`, {
    timeout: HOURS * 3_600_000 + 600_000,
  }, async (context) => {
    if ('missing' in pgDump) return context.skip(pgDump.missing)
    expect(await histories(testedVersions(), pgDump.path)).toEqual([])
  })

describe.skipIf(HOURS > 0).each(oneVersion())('PostgreSQL %s', (version) => {
  test.for(Array.from({ length: HISTORIES }, (_, i) => SEED + i))(
    'a history of everything comes back, or the restore says what does not (seed %i)',
    { timeout: 600_000 },
    async (seed, context) => {
      if ('missing' in pgDump) return context.skip(pgDump.missing)
      await withRoles(version, async (roles) => {
        expect((await oneHistory(version, seed, pgDump.path, roles)).found).toEqual([])
      })
    },
  )
})
