/**
 * Tables of a server as a copy stores them, and back into another database: made bare, loaded, and finished. What the server itself
 * prints of both is the oracle: SHOW CREATE, and a digest that it computes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type mysql from 'mysql2/promise'
import { describe, expect, test } from 'vitest'
import { ByteSink } from '../../services/core/byte-sink.ts'
import { ByteSource } from '../../services/core/byte-source.ts'
import { PieceSink } from '../../services/core/piece-sink.ts'
import { NeedsNextForm, type RowPrinter } from '../../services/core/ports/dialect.ts'
import { digestTables } from '../../services/engines/mysql/catalog/digest.ts'
import { type ReadSchema, readSchema } from '../../services/engines/mysql/catalog/read-schema.ts'
import { openSnapshot } from '../../services/engines/mysql/copy/snapshot.ts'
import { fieldsOf } from '../../services/engines/mysql/dialect/field.ts'
import { mysqlDialect } from '../../services/engines/mysql/dialect/mysql-dialect.ts'
import { MysqlTable } from '../../services/engines/mysql/dialect/mysql-table.ts'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { MysqlTarget } from '../../services/engines/mysql/target/mysql-target.ts'
import { ChangeEncoder } from '../../services/formats/change-encoder.ts'
import { BOTH, BYTES, type Case, MARIADB, MARIADB_BYTES, MYSQL } from '../support/mysql-types.ts'
import { type Flavour, type MysqlBench, startMysql, whyNoMysql } from '../support/parts/mysql.ts'

const signal = new AbortController().signal
const LARGEST = 1 << 26
const SOURCE = { server: 'another', database: 'another' }

const OBJECTS = [
  `CREATE TABLE users (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(50) NOT NULL COMMENT 'a, (b) \`c\` ''d'' \\\\', UNIQUE KEY by_name (name)) COMMENT='AUTO_INCREMENT=7 (x)'`,
  `CREATE TABLE posts (room int NOT NULL, n int NOT NULL AUTO_INCREMENT, author bigint unsigned, body text, v int GENERATED ALWAYS AS (room + 1) VIRTUAL, s int AS (room * 2) STORED, KEY by_n (n), KEY by_body (body(10)), FULLTEXT KEY words (body), PRIMARY KEY (room, n), CONSTRAINT fk FOREIGN KEY (author) REFERENCES users (id) ON DELETE CASCADE, CONSTRAINT positive CHECK (room > 0))`,
  `CREATE TABLE nokey (a int, b varchar(10))`,
  'CREATE TABLE parts (id int NOT NULL, at date NOT NULL, KEY (at)) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)',
  `INSERT INTO users (name) VALUES ('ann'), ('bob')`,
  `INSERT INTO posts (room, author, body) VALUES (1, 1, 'one'), (1, 2, 'two\\n\\t''\\\\N')`,
  `INSERT INTO nokey VALUES (1, NULL), (1, NULL), (2, '\\\\N')`,
  `INSERT INTO parts VALUES (1, '2020-01-02'), (20, '0000-00-00')`,
  'CREATE VIEW a_view AS SELECT z.id, twice(z.id) AS d FROM z_view z',
  'CREATE VIEW z_view AS SELECT id FROM users',
  `CREATE FUNCTION twice(x bigint) RETURNS bigint DETERMINISTIC RETURN x * 2`,
  `CREATE PROCEDURE fill() BEGIN INSERT INTO nokey VALUES (3, 'x;y'); END`,
  `CREATE TRIGGER on_post BEFORE INSERT ON posts FOR EACH ROW SET NEW.body = CONCAT(NEW.body, '!')`,
  `CREATE EVENT tick ON SCHEDULE EVERY 1 HOUR DO INSERT INTO nokey VALUES (4, 'e')`,
]

async function run(url: string, statements: readonly string[]): Promise<void> {
  const { connection } = await connect(url, "SET sql_mode = '', time_zone = '+00:00'")
  for (const sql of statements) await connection.query(sql)
  await connection.end()
}

async function matrix(url: string, cases: readonly Case[]): Promise<void> {
  await run(
    url,
    cases.flatMap(([type, ...values], i) => [
      `CREATE TABLE m${i} (id int PRIMARY KEY AUTO_INCREMENT, v ${type} NULL)`,
      ...[...values, 'NULL'].map((value) => `INSERT IGNORE INTO m${i} (v) VALUES (${value})`),
    ]),
  )
}

async function reading(url: string, database: string): Promise<ReadSchema> {
  const session = await connect(url)
  try {
    return await readSchema(session, database)
  } finally {
    await session.connection.end()
  }
}

/** A table's rows as a backup has them. */
async function encoded(url: string, table: MysqlTable): Promise<{ bytes: Buffer; rows: number }> {
  const { facts, relation } = table
  const encoder = new ChangeEncoder(relation, 'utf8')
  const sink = new ByteSink(4096)
  const snapshot = await openSnapshot(url, [facts], LARGEST)
  const stored = facts.columns.flatMap((column, i) =>
    column.isStored ? [{ i, field: fieldsOf(column) }] : [],
  )
  let rows = 0
  for await (const row of snapshot.rows(facts)) {
    rows++
    encoder.encodeRow(
      sink,
      stored.map(({ i, field }) => {
        const value = row[i]!
        return value === null ? null : field(value)
      }),
    )
  }
  await snapshot.close()
  return { bytes: sink.take(), rows }
}

async function* printed(printer: RowPrinter, bytes: Buffer): AsyncGenerator<Buffer> {
  const source = new ByteSource(bytes)
  while (!source.done) {
    const sink = new PieceSink(64)
    expect(printer.print(source, sink)).toBe(true)
    yield* [...sink.pieces()].map((piece) => Buffer.from(piece))
  }
}

/** One table, and the digest that the server and we compute of it. */
async function restoreTable(from: string, stored: MysqlTable, target: MysqlTarget): Promise<void> {
  const { bytes, rows } = await encoded(from, stored)
  const columns = stored.relation.columns.map(({ name }) => name)
  const { schema, name } = stored.facts
  const printers = mysqlDialect.rows.printers(stored.relation, false)
  const load = (printer: RowPrinter): Promise<number> =>
    target.load({ schema, name, columns }, printer.form, printed(printer, bytes), signal)
  const loaded = load(printers[0]!).catch((error: unknown) => {
    if (error instanceof NeedsNextForm && printers[1] !== undefined) return load(printers[1])
    throw error
  })
  expect(await loaded, name).toBe(rows)
  const [server] = await target.digest([{ schema, name, columns }])
  const digest = mysqlDialect.rows.digest()
  const take = digest.taker(stored.relation)
  const source = new ByteSource(bytes)
  for (let i = 0; i < rows; i++) {
    const start = source.at
    printers.at(-1)!.print(source, new PieceSink(64))
    take(bytes, start, source.at)
  }
  expect({ rows: digest.rows, digest: digest.digest }, name).toEqual({
    rows: server!.rows,
    digest: server!.digest,
  })
}

/** Everything of a database into another one. @returns what was refused */
async function restore(from: string, schema: ReadSchema, into: string): Promise<string[]> {
  const target = new MysqlTarget({ url: into, source: SOURCE })
  expect(await target.check('r')).toBe('empty')
  await target.begin('r')
  const steps = mysqlDialect.schemas.steps(schema.statements, { roleAttributes: false })
  const refused = [...(await target.run(steps.before, 0, () => undefined, signal))]
  for (const table of schema.tables)
    await restoreTable(from, MysqlTable.parse(JSON.stringify(table.facts)), target)
  let again = await target.run(steps.build, 0, () => undefined, signal)
  for (let before = Infinity; again.length > 0 && again.length < before; ) {
    before = again.length
    const statements = again.map(({ statement }) => statement)
    again = await target.run(statements, 0, () => undefined, signal)
  }
  await target.finish()
  await target.close()
  return [...refused, ...again].map(({ statement, reason }) => `${statement.sql}: ${reason}`)
}

async function digests(url: string, schema: ReadSchema, database: string): Promise<unknown> {
  const { connection } = await connect(url)
  const found = await digestTables(
    connection,
    database,
    schema.tables.map(({ facts }) => ({
      schema: 'x',
      name: facts.name,
      columns: facts.columns.map(({ name }) => name),
    })),
  )
  await connection.end()
  return found
}

async function started(flavour: Flavour, use: (bench: MysqlBench) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
  try {
    await using bench = await startMysql(flavour, folder)
    await use(bench)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function admin(bench: MysqlBench, sql: string): Promise<mysql.RowDataPacket[]> {
  const { connection } = await connect(bench.url)
  const [rows] = await connection.query<mysql.RowDataPacket[]>(sql)
  await connection.end()
  return rows
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)
  const types = flavour === 'mariadb' ? [...MARIADB, ...MARIADB_BYTES] : MYSQL

  test.skipIf(why !== undefined)(
    'every type comes back byte for byte, by LOAD DATA and by INSERT',
    { timeout: 600_000 },
    () =>
      started(flavour, async (bench) => {
        const from = await bench.database('chat')
        await matrix(from, [...BOTH, ...BYTES, ...types])
        const schema = await reading(from, 'chat')
        const before = await digests(from, schema, 'chat')
        for (const local of ['ON', 'OFF']) {
          await admin(bench, `SET GLOBAL local_infile = ${local}`)
          const into = await bench.database(`back_${local}`)
          expect(await restore(from, schema, into), local).toEqual([])
          expect(await digests(into, schema, `back_${local}`), local).toEqual(before)
          const made = await reading(into, `back_${local}`)
          expect(made.tables.map(({ facts }) => facts.create)).toEqual(
            schema.tables
              .map(({ facts }) => facts.create.replace(/ AUTO_INCREMENT=\d+/, ''))
              .map((create, i) =>
                made.tables[i]!.facts.create.includes(' AUTO_INCREMENT=')
                  ? schema.tables[i]!.facts.create
                  : create,
              ),
          )
        }
      }),
  )

  test.skipIf(why !== undefined)(
    'keys, foreign keys, views, routines, triggers and events come back as they were, events disabled',
    { timeout: 600_000 },
    () =>
      started(flavour, async (bench) => {
        const from = await bench.database('chat')
        const more =
          flavour === 'mariadb'
            ? [
                'CREATE SEQUENCE numbers START WITH 5',
                'CREATE TABLE numbered (id bigint DEFAULT nextval(numbers) PRIMARY KEY)',
                'INSERT INTO numbered VALUES (), ()',
              ]
            : []
        // A view needs what it looks at.
        const order = [...OBJECTS.slice(0, 8), OBJECTS[10]!, OBJECTS[9]!, OBJECTS[8]!, ...OBJECTS.slice(11)]
        await run(from, [...order, ...more])
        const schema = await reading(from, 'chat')
        const into = await bench.database('back')
        expect(await restore(from, schema, into)).toEqual([])
        const made = await reading(into, 'back')
        const texts = (read: ReadSchema): string[] =>
          read.statements.map(({ sql }) => sql.replaceAll('`back`', '`chat`'))
        expect(texts(made)).toEqual(texts(schema))
        const events = await admin(
          bench,
          "SELECT STATUS AS s FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'back'",
        )
        expect(events).toEqual([{ s: 'DISABLED' }])
        expect(await digests(into, schema, 'back')).toEqual(await digests(from, schema, 'chat'))
        expect(schema.notes.join('\n')).toContain('comes back disabled')
      }),
  )
})
