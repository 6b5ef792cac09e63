/**
 * Readings of all sequences: they are not in the stream (hazard 32). Before 18 the server shows no value of one that was
 * never called, which `setval(s, n, false)` and RESTART WITH set all the same: such ones are read from the sequence itself.
 */
import type pg from 'pg'
import { LIMITS } from '../../../core/limits.ts'
import type { SequenceReading } from '../../../core/transaction.ts'
import { sqlState } from '../session/session.ts'

/** pg_get_sequence_data() shows value and state of any number in one query. */
const SHOWS_ALL = 180000

interface Row {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly increment: string
  /** RESTART writes the sequence into another file. */
  readonly file: string
  value: string | null
  called: boolean
}

/**
 * Reads all sequences again and again. Of those that were never called, where the server shows none of them, a limited
 * number each time: new and restarted ones at once, the others in turn.
 */
export class SequenceReader {
  readonly #limit: number
  /** Uncalled ones as they were read last, the longest ago first. */
  #uncalled = new Map<number, { readonly file: string; readonly value: string; readonly called: boolean }>()

  constructor(limit: number = LIMITS.uncalledSequences) {
    this.#limit = limit
  }

  async read(client: pg.Client): Promise<readonly SequenceReading[]> {
    const rows = await valuesApart(client, await listSequences(client))
    if (await showsAll(client)) return readings(rows)
    const uncalled = rows.filter((row) => row.value === null)
    const there = new Map(uncalled.map((row) => [row.oid, row]))
    const turn = [...this.#uncalled.keys()].filter((oid) => there.has(oid)).slice(0, this.#limit)
    const due = new Set([
      ...turn,
      ...uncalled.filter((row) => this.#uncalled.get(row.oid)?.file !== row.file).map((row) => row.oid),
    ])
    await readThemselves(
      client,
      uncalled.filter((row) => due.has(row.oid)),
    )
    const held = new Map([...this.#uncalled].filter(([oid]) => there.has(oid) && !due.has(oid)))
    for (const row of uncalled) {
      if (due.has(row.oid)) {
        if (row.value !== null) held.set(row.oid, { file: row.file, value: row.value, called: row.called })
      } else Object.assign(row, this.#uncalled.get(row.oid))
    }
    this.#uncalled = held
    return readings(rows)
  }
}

/** Once, inside of a transaction: whoever reads there takes a newer snapshot where a sequence was dropped meanwhile. */
export async function readSequencesOnce(client: pg.Client): Promise<readonly SequenceReading[]> {
  const rows = await listSequences(client)
  await readValues(client, rows)
  if (!(await showsAll(client)))
    await readThemselves(
      client,
      rows.filter((row) => row.value === null),
    )
  return readings(rows)
}

async function showsAll(client: pg.Client): Promise<boolean> {
  const found = await client.query<{ v: string }>(
    `SELECT pg_catalog.current_setting('server_version_num') AS v`,
  )
  return Number(found.rows[0]?.v) >= SHOWS_ALL
}

/** From the catalog alone: this much cannot fail because of others. */
async function listSequences(client: pg.Client): Promise<Row[]> {
  const found = await client.query<Row>(
    `SELECT c.oid, n.nspname AS schema, c.relname AS name, s.seqincrement::text AS increment, c.relfilenode::text AS file, NULL AS value, true AS called
       FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relpersistence <> 't' AND n.nspname <> 'tidemark' AND c.relkind = 'S' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')`,
  )
  return found.rows
}

/** All at once, and in halves where one of them is gone, down to that one. */
async function valuesApart(client: pg.Client, rows: Row[]): Promise<Row[]> {
  try {
    await readValues(client, rows)
    return rows
  } catch (error) {
    if (!isGone(error)) throw error
    if (rows.length === 1) return []
    const half = Math.ceil(rows.length / 2)
    return [
      ...(await valuesApart(client, rows.slice(0, half))),
      ...(await valuesApart(client, rows.slice(half))),
    ]
  }
}

async function readValues(client: pg.Client, rows: Row[]): Promise<void> {
  if (rows.length === 0) return
  const what = (await showsAll(client))
    ? 'd.last_value::text AS value, d.is_called AS called FROM pg_catalog.unnest($1::oid[]) WITH ORDINALITY AS w(oid, i) CROSS JOIN LATERAL pg_catalog.pg_get_sequence_data(w.oid) d'
    : 'pg_catalog.pg_sequence_last_value(w.oid)::text AS value, true AS called FROM pg_catalog.unnest($1::oid[]) WITH ORDINALITY AS w(oid, i)'
  const found = await client.query<{ value: string | null; called: boolean }>(`SELECT ${what} ORDER BY w.i`, [
    rows.map((row) => row.oid),
  ])
  for (const [i, row] of found.rows.entries()) Object.assign(rows[i]!, row)
}

/** One that is gone meanwhile stays without a value. DO gives no rows: a setting of the session carries them out. */
async function readThemselves(client: pg.Client, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return
  await client.query(`DO $tidemark$
DECLARE one pg_catalog.oid; held pg_catalog.text; found pg_catalog.text[] := '{}';
BEGIN
  FOREACH one IN ARRAY '{${rows.map((row) => row.oid).join(',')}}'::pg_catalog.oid[] LOOP
    BEGIN
      EXECUTE pg_catalog.format('SELECT last_value || '' '' || is_called FROM %s', one::pg_catalog.regclass) INTO held;
      found := found || (one || ' ' || held);
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('tidemark.sequences', pg_catalog.array_to_string(found, ','), false);
END $tidemark$`)
  const text = (
    await client.query<{ found: string }>(`SELECT pg_catalog.current_setting('tidemark.sequences') AS found`)
  ).rows[0]?.found
  const byOid = new Map(rows.map((row) => [row.oid, row]))
  for (const one of text === undefined || text === '' ? [] : text.split(',')) {
    const [oid, value = '', called] = one.split(' ')
    const row = byOid.get(Number(oid))
    if (row !== undefined) Object.assign(row, { value, called: called === 'true' })
  }
}

function readings(rows: readonly Row[]): readonly SequenceReading[] {
  return rows.flatMap(({ oid, schema, name, increment, file, value, called }) =>
    value === null ? [] : [{ schema, name, oid, increment, file, lastValue: value, isCalled: called }],
  )
}

/** Dropped, renamed or taken from us between the list and the look. */
function isGone(error: unknown): boolean {
  return ['42P01', '3F000', '42501', '42704', 'XX000'].includes(sqlState(error) ?? '')
}
