/** A backup with two bases and schema changes all along, and what tests of retention ask of it. */
import { TESTER } from './actor.ts'
import { expect } from 'vitest'
import type { CopyPlace } from '../../services/app/config/config.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { prune, type PruneReport } from '../../services/app/operations/prune.ts'
import { takeBase } from '../../services/app/operations/take-base.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { type Clock, systemClock } from '../../services/core/clock.ts'
import type { KeptObject, ObjectStore } from '../../services/core/ports/object-store.ts'
import { type Backup, digests, shown } from './backup.ts'

export const signal = new AbortController().signal
export const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 300) g`
export const HOUR = 3_600_000

export interface Point {
  readonly at: string
  readonly rows: readonly string[]
}

/** Two bases, schema changes before, between and behind, and points that are known. */
export async function history(
  backup: Backup,
): Promise<{ readonly old: Point; readonly middle: Point; readonly last: Point }> {
  await backup.init()
  await backup.up()
  const { source } = backup
  const point = async (): Promise<Point> => {
    await backup.durable()
    const { rows } = await source.query<{ at: string }>('SELECT (pg_current_wal_lsn() - 1)::text AS at')
    await source.query(`INSERT INTO m (id, body) VALUES ((SELECT max(id) + 1 FROM m), 'next')`)
    await source.query(`DELETE FROM m WHERE body = 'next'`)
    const seen = shown(await digests(backup.sourceUrl))
    await backup.durable()
    return { at: rows[0]!.at, rows: seen }
  }
  await source.query(
    `ALTER TABLE m ADD COLUMN early int DEFAULT 7; UPDATE m SET body = body || 'a' WHERE id % 3 = 0`,
  )
  const old = await point()
  await source.query(
    `CREATE TABLE n (id int PRIMARY KEY, v text); INSERT INTO n SELECT g, 'n' || g FROM generate_series(1, 50) g; ALTER TABLE m ADD COLUMN between_bases text DEFAULT 'x'`,
  )
  await backup.durable()
  await takeBase(backup.config, signal, () => undefined)
  await source.query(`UPDATE m SET between_bases = 'y' WHERE id % 2 = 0; DELETE FROM m WHERE id % 5 = 0`)
  const middle = await point()
  await source.query(
    `ALTER TABLE n ADD COLUMN late int DEFAULT 3; INSERT INTO n VALUES (99, 'z', 4); UPDATE m SET body = 'end' WHERE id = 2`,
  )
  const last = await point()
  return { old, middle, last }
}

export interface Wanted {
  readonly confirmed?: boolean
  readonly graceMs?: number
  readonly keepMs?: number
  readonly clock?: Clock
  readonly copies?: readonly CopyPlace[]
  readonly storeKeepMs?: readonly (number | undefined)[]
  readonly unnamed?: boolean
}

export function pruned(
  backup: Backup,
  {
    confirmed = true,
    graceMs = HOUR,
    keepMs = 0,
    clock = systemClock,
    copies = [],
    storeKeepMs = [],
    unnamed = false,
  }: Wanted = {},
): Promise<PruneReport> {
  return prune({
    actor: TESTER,
    place: { storeUrl: backup.storeUrl, copies, keys: backup.keys },
    policy: { keepMs, bases: 1, graceMs },
    storeKeepMs,
    confirmed,
    unnamed,
    clock,
    signal,
  })
}

export async function all(objects: AsyncIterable<KeptObject>): Promise<KeptObject[]> {
  const out: KeptObject[] = []
  for await (const object of objects) out.push(object)
  return out
}

export async function names(store: ObjectStore): Promise<string[]> {
  return [...new Set((await all(store.kept(''))).map((object) => object.name))].filter((name) =>
    /^(segments|base|schema)\//.test(name),
  )
}

export const ahead = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms })
/** Before the bases of the test were taken: what is younger than that stays. */
export const refused = { code: 'POINT_BEFORE_WINDOW' }

export async function restores(
  backup: Backup,
  { at, rows }: Point,
  options: Parameters<Backup['restore']>[1] = {},
): Promise<readonly string[]> {
  const restored = await backup.restore(at, options)
  expect(shown(await digests(restored.url))).toEqual(rows)
  return restored.stores
}

export async function isWhole(backup: Backup, storeUrl = backup.storeUrl): Promise<void> {
  const { repository } = await openBackup({ storeUrl, keys: backup.keys, role: 'restore' })
  const report = await verifyStore(repository, true, () => undefined, signal)
  expect(report.damaged).toEqual([])
  expect(report.objects).toBeGreaterThan(5)
}
