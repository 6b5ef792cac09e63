/** Tables that are left out by name: what hangs on them goes with them, and is told as a note instead of as not made. */
import { rm } from 'node:fs/promises'
import pg from 'pg'
import { expect, test } from 'vitest'
import { Backup, oneVersion } from '../support/backup.ts'

const SETUP = `CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a');
  CREATE TABLE messages (id int, at date, sender int CONSTRAINT sender_fk REFERENCES users, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE INDEX by_sender ON messages (sender);
  CREATE TABLE messages_1 PARTITION OF messages FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
  CREATE TABLE messages_2 PARTITION OF messages FOR VALUES FROM ('2026-07-01') TO ('2027-01-01') PARTITION BY LIST (id);
  CREATE TABLE messages_2a PARTITION OF messages_2 DEFAULT;
  INSERT INTO messages VALUES (1, '2026-02-01', 1), (2, '2026-08-01', 1);
  CREATE TABLE plain (id int PRIMARY KEY, u int CONSTRAINT plain_fk REFERENCES users); INSERT INTO plain VALUES (1, 1);
  CREATE FUNCTION everybody() RETURNS SETOF users LANGUAGE sql AS 'SELECT * FROM users';
  CREATE FUNCTION named(u users) RETURNS text LANGUAGE sql AS 'SELECT u.name';
  CREATE TABLE held (id int PRIMARY KEY, u users); INSERT INTO held VALUES (1, ROW(1, 'a'));
  CREATE VIEW seen AS SELECT * FROM users; CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM seen;
  ALTER TABLE plain ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON plain USING (u IN (SELECT id FROM users));
  CREATE STATISTICS pair ON id, name FROM users; CREATE PUBLICATION told FOR TABLE users, plain;
  CREATE SEQUENCE numbers OWNED BY users.id`

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat() as unknown[]
  } finally {
    await client.end()
  }
}

const TABLES = `SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1`

test.each(oneVersion())('what needs one is a note (%s)', { timeout: 180_000 }, async (version) => {
  await using backup = await Backup.start({ version, setup: SETUP })
  await backup.durable()
  const restored = await backup.restore('latest', { exceptTables: ['public.users'] })
  if (restored.unmadeFile !== null) await rm(restored.unmadeFile)
  // Its rows are there, and read otherwise than at the source.
  expect(restored.result!.unmade.map(({ object, instead }) => [object, instead])).toEqual([
    ['table public.held', 'as text: u'],
  ])
  const notes = restored.result!.notes.filter((note) => note.includes('a table that was left out'))
  expect(notes.map((note) => note.split(':')[0]).sort()).toEqual([
    'constraint public.messages.sender_fk',
    'constraint public.plain.plain_fk',
    'function public.everybody',
    'function public.named',
    'materializedView public.counted',
    'policy public.plain.mine',
    'publication told',
    'sequence public.numbers',
    'statistics public.pair',
    'view public.seen',
  ])
  expect(await ask(restored.url, 'SELECT id FROM messages ORDER BY id')).toEqual([1, 2])
})

test.each(oneVersion())(
  'of a partitioned table its partitions go too (%s)',
  { timeout: 180_000 },
  async (version) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.durable()
    const restored = await backup.restore('latest', { exceptTables: ['public.messages'] })
    if (restored.unmadeFile !== null) await rm(restored.unmadeFile)
    expect(restored.result!.unmade).toEqual([])
    expect(restored.result!.excluded).toEqual([
      'public.messages',
      'public.messages_1',
      'public.messages_2',
      'public.messages_2a',
    ])
    expect(await ask(restored.url, TABLES)).toEqual(['held', 'plain', 'users'])
    const wrong = backup.restore('latest', { exceptTables: ['public.message'] })
    await expect(wrong).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('public.messages, public.messages_1, ') as string,
    })
    const half = await backup.restore('latest', { exceptTables: ['public.messages_2'] })
    if (half.unmadeFile !== null) await rm(half.unmadeFile)
    expect(half.result!.unmade).toEqual([])
    expect(await ask(half.url, 'SELECT id FROM messages')).toEqual([1])
  },
)
