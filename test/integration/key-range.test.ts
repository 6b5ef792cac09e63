/** The index's smallest and largest keys: exact, and enough to find the history of one key without opening the rest. */
import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { readFile, writeFile } from 'node:fs/promises'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { shapeOfSchema } from '../../services/formats/change-schema.ts'
import { openContainer } from '../../services/formats/container.ts'
import { mayHold } from '../../services/formats/key-range.ts'
import { readHistory, type HistoryLine } from '../../services/history/read-history.ts'
import { resolvePoint } from '../../services/history/point.ts'
import { readIndex } from '../../services/history/read-index.ts'
import { Backup } from '../support/backup.ts'

const BIG = 9007199254740993n

const SETUP = `
  CREATE TABLE numbers (id bigint PRIMARY KEY, v text);
  CREATE TABLE pairs (room int, name text, v text, PRIMARY KEY (room, name));
  CREATE TABLE uuids (id uuid PRIMARY KEY, v int);
  CREATE TABLE times (at timestamptz PRIMARY KEY, v int);
  CREATE TABLE bare (a int, b text);
  INSERT INTO numbers VALUES (1, 'one')`

/** One list for each cut. */
const CUTS = [
  [
    `INSERT INTO numbers SELECT g, 'x' FROM generate_series(-5, 0) g`,
    `INSERT INTO pairs SELECT g % 7, 'n' || g, 'é' FROM generate_series(1, 30) g`,
  ],
  [
    `INSERT INTO numbers VALUES (${BIG}, 'big'), (${BIG + 2n}, 'bigger'), (-9223372036854775808, 'least'), (9223372036854775807, 'most')`,
    `INSERT INTO uuids SELECT gen_random_uuid(), g FROM generate_series(1, 20) g`,
  ],
  [
    `UPDATE numbers SET id = id + 1000 WHERE id BETWEEN -3 AND -1`,
    `UPDATE pairs SET name = 'ü' || name WHERE room = 3`,
    `UPDATE pairs SET v = 'same key' WHERE room = 4`,
  ],
  [
    `DELETE FROM numbers WHERE id > 100 AND id < 2000`,
    `DELETE FROM pairs WHERE room = 5`,
    `INSERT INTO times VALUES ('infinity', 1), (now(), 2)`,
    `INSERT INTO bare VALUES (1, 'a'), (2, 'b')`,
  ],
  [
    `UPDATE uuids SET v = v + 1 WHERE v % 2 = 0`,
    `TRUNCATE pairs`,
    `INSERT INTO pairs VALUES (3, 'again', 'x')`,
    `UPDATE bare SET b = 'c' WHERE a = 1`,
  ],
  [`INSERT INTO numbers VALUES (${BIG + 1n}, 'between')`, `UPDATE numbers SET v = 'later' WHERE id = 1`],
]

test('spans are exact, and the history of a key is what a filter over the whole history gives', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  const from = await backup.head()
  for (const statements of CUTS) {
    for (const statement of statements) await backup.source.query(statement)
    await backup.durable()
  }
  const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })
  const start = await resolvePoint(repository, { kind: 'position', position: from })
  const end = await resolvePoint(repository, { kind: 'latest' })
  const history = async (name: string, key?: string[]): Promise<HistoryLine[]> => {
    const lines: HistoryLine[] = []
    for await (const line of readHistory(repository, { schema: 'public', name }, start, end, key))
      lines.push(line)
    return lines
  }
  const keysOf: Readonly<Record<string, string[]>> = {
    numbers: ['id'],
    pairs: ['room', 'name'],
    uuids: ['id'],
    times: ['at'],
    bare: ['a', 'b'],
  }
  let asked = 0
  const get = repository.ledger.store.get.bind(repository.ledger.store)
  repository.ledger.store.get = (name, range) => (name.endsWith('.avro') && asked++, get(name, range))
  for (const [name, columns] of Object.entries(keysOf)) {
    const whole = await history(name)
    const all = asked
    const texts = (line: HistoryLine): string[][] =>
      [line.old, line.new].flatMap((row) =>
        row === null || columns.some((c) => row[c] === undefined) ? [] : [columns.map((c) => row[c]!)],
      )
    for (const key of new Set(
      whole.flatMap(texts).flatMap((key) => [JSON.stringify(key), JSON.stringify(key.slice(0, 1))]),
    )) {
      const wanted = JSON.parse(key) as string[]
      const expected = whole.filter(
        (line) =>
          line.operation === 'truncate' || texts(line).some((k) => wanted.every((text, i) => k[i] === text)),
      )
      expect(await history(name, wanted), `${name} ${key}`).toEqual(expected)
    }
    asked = 0
    if (name === 'numbers') {
      expect((await history(name, ['1'])).map((line) => line.new?.['v'])).toEqual(['later'])
      expect(asked, 'one segment is opened, of all').toBeLessThan(all)
    }
    asked = 0
  }
  // What stands in the index itself.
  const spans = new Map<string, number>()
  for await (const entry of end.generation.segments.segments(() => true)) {
    const index = await readIndex(repository, entry)
    for (const block of index.blocks) {
      const table = index.tables[block.table]!
      if (table.schema !== 'public') continue
      if (block.keys !== undefined) spans.set(table.name, (spans.get(table.name) ?? 0) + 1)
      if (block.keys !== undefined)
        for (const end of [block.keys.smallest, block.keys.largest])
          expect(
            mayHold(
              block.keys,
              end.map((text) => text.slice(1)),
            ),
          ).toBe(true)
    }
  }
  expect([...spans.keys()].sort()).toEqual(['numbers', 'pairs', 'uuids'])
  const numbers = (
    await Promise.all(
      (
        await collect(end.generation.segments.segments(() => true))
      ).map((entry) => readIndex(repository, entry)),
    )
  ).flatMap((index) =>
    index.blocks.filter((block) => index.tables[block.table]!.name === 'numbers').map((block) => block.keys),
  )
  expect(numbers).toContainEqual({ smallest: ['#-9223372036854775808'], largest: ['#9223372036854775807'] })
  expect(numbers).toContainEqual({ smallest: [`#1`], largest: [`#${BIG + 1n}`] })
})

test('columns declared as personal data carry the mark in every segment and base part', async () => {
  await using backup = await Backup.prepare({
    setup: `CREATE TABLE users (id int PRIMARY KEY, email text, nick text); INSERT INTO users VALUES (1, 'a@b', 'x')`,
  })
  await backup.init()
  const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
  await writeFile(
    backup.configPath,
    stringify({ ...settings, tables: { 'public.users': { subjects: { email: 'id' } } } }),
  )
  await backup.up()
  await backup.source.query(`UPDATE users SET email = 'c@d'`)
  await backup.durable()
  const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })
  const generation = repository.catalog.generation!
  const table = generation.base!.tables.find((t) => t.body.name === 'users')!.body
  const part = openContainer(
    await repository.getSealed(table.parts[0]!, { kind: 'base', generation: '1', table: String(table.oid) }),
  )
  const marks = (schema: unknown): (string | undefined)[] =>
    shapeOfSchema(schema).relation.columns.map((column) => column.subject)
  expect(marks(JSON.parse(part.schema))).toEqual([undefined, 'id', undefined])
  const entry = (await collect(generation.segments.segments(() => true))).find(({ body }) =>
    body.objects.some((object) => object.tables.some(({ oid }) => oid === table.oid)),
  )!.body
  const segment = openContainer(
    await repository.getSealed(entry.objects[0]!, { kind: 'segment', generation: '1', lane: '0' }),
  )
  expect(
    (JSON.parse(segment.schema) as { relation: { name: string } }[])
      .filter((record) => record.relation.name === 'users')
      .map(marks),
  ).toEqual([[undefined, 'id', undefined]])
  expect(await backup.restore('latest').then((report) => report.result?.tables.map((t) => t.rows))).toEqual([
    1,
  ])
})

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = []
  for await (const item of items) out.push(item)
  return out
}
