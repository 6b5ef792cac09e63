/**
 * Another decoder as an oracle: pg-logical-replication's parser of pgoutput reads the very messages that ours reads, over
 * random histories on real servers, and both must say the same of every one. Where they don't, the server decides: the
 * message's text stands in the failure. The seed is printed; TIDEMARK_SEED=n runs it again.
 */
import { PgoutputPlugin } from 'pg-logical-replication'
import { describe, expect, test } from 'vitest'
import { TransactionAssembler } from '../../services/engines/postgres/source/transaction-assembler.ts'
import { parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import { type LogItem, OPERATIONS } from '../../services/core/transaction.ts'
import { typeOidOf } from '../../services/engines/postgres/dialect/column-type.ts'
import { ByteSource } from '../../services/core/byte-source.ts'
import { shapeOfSchema } from '../../services/formats/change-schema.ts'
import { textOfField } from '../../services/formats/value-printer.ts'
import { random } from '../../services/demo/chat-traffic.ts'
import { RowLayout } from '../../services/history/row-layout.ts'
import { ChangeCursor } from '../../services/history/segment-reader.ts'
import { Backup, testedVersions } from '../support/backup.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const TRANSACTIONS = process.env['TIDEMARK_TEST_SCOPE'] === 'soak' ? 4000 : 150

type Row = Record<string, string | null>

/** What one message says, in the words of neither decoder. */
type Said =
  | { readonly what: 'begin'; readonly lsn: string; readonly xid: number }
  | { readonly what: 'commit'; readonly end: string }
  | { readonly what: 'truncate'; readonly table: string }
  | {
      readonly what: 'insert' | 'update' | 'delete'
      readonly table: string
      readonly old: Row | null
      readonly new: Row | null
    }

const COLUMNS: readonly (readonly [string, (n: number) => string])[] = [
  ['text', (n) => `'${['a', 'ü', '消息', '👍', 'tab\t', "q''q", ''][n % 7]}${n}'`],
  // Stored out of line and uncompressed: an update that leaves it alone sends no value.
  ['text STORAGE EXTERNAL', (n) => `repeat('x${n}', 1500)`],
  ['bigint', (n) => String((BigInt(n) * 2n ** 40n) % 2n ** 62n)],
  ['numeric', (n) => `${n}.${'0123456789'.slice(0, n % 10)}1`],
  ['boolean', (n) => (n % 2 === 0 ? 'true' : 'false')],
  ['double precision', (n) => (n % 9 === 0 ? `'-Infinity'` : `${n} / 7.0`)],
  ['real', (n) => `${n} / 3.0`],
  ['timestamptz', (n) => `'2001-01-01'::timestamptz + ${n} * interval '17.000001 s'`],
  ['timestamp', (n) => (n % 8 === 0 ? `'infinity'` : `'0044-03-15 BC'::timestamp + ${n} * interval '1 day'`)],
  ['date', (n) => `'1969-12-31'::date + ${n}`],
  ['bytea', (n) => `decode('00ff${(n % 256).toString(16).padStart(2, '0')}', 'hex')`],
  ['uuid', (n) => `md5('${n}')::uuid`],
  ['jsonb', (n) => `jsonb_build_object('n', ${n}, 'p', null)`],
  ['int[]', (n) => `ARRAY[${n}, NULL, ${-n}]`],
  ['smallint', (n) => String((n % 60_000) - 30_000)],
]

/** Statements of random transactions over a few tables of every identity. */
function* history(next: (below: number) => number): Generator<string> {
  const tables: { name: string; columns: number[]; keyed: boolean }[] = []
  let names = 0
  const value = (column: number): string => (next(6) === 0 ? 'NULL' : COLUMNS[column]![1](next(100_000)))
  const create = (): string[] => {
    const name = `t${names++}`
    const columns = Array.from({ length: 1 + next(5) }, () => next(COLUMNS.length))
    const how = next(4)
    tables.push({ name, columns, keyed: how !== 0 })
    const list = columns.map((column, i) => `c${i} ${COLUMNS[column]![0]}`).join(', ')
    const key = ['int', 'int PRIMARY KEY', 'int PRIMARY KEY', 'int NOT NULL UNIQUE'][how]!
    return [
      `CREATE TABLE ${name} (id ${key}, ${list})`.replaceAll(' STORAGE EXTERNAL', ''),
      ...columns.flatMap((column, i) =>
        COLUMNS[column]![0].endsWith('EXTERNAL')
          ? [`ALTER TABLE ${name} ALTER c${i} SET STORAGE EXTERNAL`]
          : [],
      ),
      ...(how === 0 || how === 2 ? [`ALTER TABLE ${name} REPLICA IDENTITY FULL`] : []),
      ...(how === 3 ? [`ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${name}_id_key`] : []),
    ]
  }
  for (let left = TRANSACTIONS; left > 0; left--) {
    const statements: string[] = []
    // Never rolled back: what follows counts on it.
    if (tables.length < 4 || next(25) === 0) yield create().join(';\n')
    for (let more = 1 + next(5); more > 0; more--) {
      const table = tables[next(tables.length)]!
      const column = next(table.columns.length)
      const roll = next(10)
      if (roll < 4) {
        const row = table.columns.map(value).join(', ')
        statements.push(
          `INSERT INTO ${table.name} SELECT ${names * 1000 + next(900)}, ${row}${table.keyed ? ' ON CONFLICT DO NOTHING' : ''}`,
        )
      } else if (roll < 7)
        statements.push(
          `UPDATE ${table.name} SET c${column} = ${value(table.columns[column]!)} WHERE id % 3 = ${next(3)}`,
        )
      else if (roll === 7)
        statements.push(
          `UPDATE ${table.name} SET id = -id WHERE id = (SELECT max(id) FROM ${table.name}) AND NOT EXISTS (SELECT FROM ${table.name} o WHERE o.id = -${table.name}.id)`,
        )
      else if (roll === 8) statements.push(`DELETE FROM ${table.name} WHERE id % 11 = ${next(11)}`)
      else if (next(6) === 0)
        statements.push(
          `TRUNCATE ${[...new Set([table.name, tables[next(tables.length)]!.name])].join(', ')}`,
        )
      else
        statements.push(
          `ALTER TABLE ${table.name} RENAME c${column} TO c${column}x`,
          `ALTER TABLE ${table.name} RENAME c${column}x TO c${column}`,
        )
    }
    yield ['BEGIN', ...statements, next(8) === 0 ? 'ROLLBACK' : 'COMMIT'].join(';\n')
  }
}

function ours(messages: readonly Buffer[]): Said[] {
  const said: Said[] = []
  let begun = ''
  const emit = (item: LogItem): void => {
    if (item.kind !== 'changes') return
    const { head, changes } = item
    const lsn = positionText(head.position)
    if (lsn !== begun) said.push({ what: 'begin', lsn, xid: head.transactionId })
    begun = lsn
    for (let i = 0; i < changes.count; i++) {
      const shape = changes.shapes[changes.shapeOf[i]!]!
      const { relation, text } = shapeOfSchema(JSON.parse(shape.avro) as { name: string })
      const layout = new RowLayout(relation, text)
      // A block's rows begin with the branch of the segment's union; a part's do not.
      const raw = Buffer.concat([
        Buffer.of(0),
        changes.bytes.subarray(changes.offsets[i], changes.offsets[i + 1]),
      ])
      const cursor = new ChangeCursor({ layout, shape: shape.id, rows: 1, raw })
      if (!cursor.next()) throw new Error('a change without bytes')
      const what = OPERATIONS[cursor.operation]!
      const table = `${relation.schema}.${relation.name}`
      const row = (slice: { readonly start: number; readonly end: number }): Row | null =>
        slice.start < 0 ? null : rowOf(layout, raw, slice)
      said.push(
        what === 'truncate' ? { what, table } : { what, table, old: row(cursor.old), new: row(cursor.new) },
      )
    }
    if (item.end !== undefined) said.push({ what: 'commit', end: positionText(item.end) })
  }
  const assembler = new TransactionAssembler({
    emit,
    text: 'utf8',
    subjects: new Map(),
    timelineOf: () => 1,
    skipBelow: positionOf(0n),
  })
  for (const message of messages) assembler.message(message, 0, message.length)
  return said
}

function rowOf(layout: RowLayout, raw: Buffer, slice: { readonly start: number; readonly end: number }): Row {
  const row: Row = {}
  const source = new ByteSource(raw, slice.start, slice.end)
  for (const [i, column] of layout.relation.columns.entries()) {
    const field = textOfField(source, layout.kinds[i]!)
    if (field.state === 'value' || field.state === 'null')
      row[column.name] = plain(typeOidOf(column), field.text)
  }
  return row
}

/** One number has many texts: what counts is that the server reads the same value. */
function plain(typeOid: number, text: string | null): string | null {
  if (text === null) return null
  if (typeOid === 700) return String(Math.fround(Number(text)))
  return typeOid === 701 ? String(Number(text)) : text
}

/** A transaction that changed nothing published is no item of ours: begin and commit alone are left out of both. */
function theirs(messages: readonly Buffer[]): Said[] {
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [] })
  const said: Said[] = []
  const row = (tuple: Record<string, unknown> | null): Row | null =>
    tuple === null
      ? null
      : Object.fromEntries(
          Object.entries(tuple).filter((pair): pair is [string, string | null] => pair[1] !== undefined),
        )
  for (const message of messages) {
    const read = plugin.parse(message)
    switch (read.tag) {
      case 'relation':
        // The server's text, not what a type's parser makes of it.
        for (const column of read.columns) column.parser = (text: string) => plain(column.typeOid, text)
        break
      case 'begin':
        said.push({ what: 'begin', lsn: positionText(parsePosition(read.commitLsn ?? '')), xid: read.xid })
        break
      case 'commit':
        said.push({ what: 'commit', end: positionText(parsePosition(read.commitEndLsn ?? '')) })
        break
      case 'truncate':
        for (const { schema, name } of read.relations)
          said.push({ what: 'truncate', table: `${schema}.${name}` })
        break
      case 'insert':
        said.push({ what: 'insert', table: tableOf(read), old: null, new: row(read.new) })
        break
      case 'update':
        said.push({
          what: 'update',
          table: tableOf(read),
          old: row(read.old ?? read.key),
          new: row(read.new),
        })
        break
      case 'delete':
        said.push({ what: 'delete', table: tableOf(read), old: row(read.old ?? read.key), new: null })
        break
      default:
        break
    }
  }
  return said
}

const tableOf = (read: { readonly relation: { readonly schema: string; readonly name: string } }): string =>
  `${read.relation.schema}.${read.relation.name}`

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test(`both decoders say the same of every message (seed ${SEED})`, { timeout: 600_000 }, async () => {
    await using backup = await Backup.prepare({ version })
    const { source } = backup
    const slot = `second_decoder_${process.pid}_${version}`
    await source.query('CREATE PUBLICATION second_decoder FOR ALL TABLES')
    await source.query('SELECT pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput'])
    try {
      const next = random(SEED)
      let refused = 0
      for (const statements of history((below) => Math.floor(next() * below)))
        await source.query(statements).catch(async () => {
          refused++
          await source.query('ROLLBACK')
        })
      expect(refused, 'a history that the server refuses tries nothing').toBeLessThan(TRANSACTIONS / 4)
      for (const setting of [
        "datestyle = 'ISO'",
        "timezone = 'UTC'",
        'extra_float_digits = 3',
        "bytea_output = 'hex'",
      ])
        await source.query(`SET ${setting}`)
      const found = await source.query<{ data: Buffer }>(
        `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'second_decoder')`,
        [slot],
      )
      const messages = found.rows.map((row) => row.data)
      expect(messages.length).toBeGreaterThan(TRANSACTIONS)
      expect(ours(messages)).toEqual(theirs(messages))
    } finally {
      await source.query('SELECT pg_drop_replication_slot($1)', [slot])
    }
  })
})
