/** Sequences are not in the stream: whatever state one is in, no restore may give a value that was given before. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { SequenceReader } from '../../services/engines/postgres/source/sequences.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { parsePosition } from '../../services/core/position.ts'
import { sequenceStatements } from '../../services/engines/postgres/dialect/sequence-values.ts'
import { Backup, oneVersion, serverUrl, testedVersions } from '../support/backup.ts'

type State = readonly [value: string, called: boolean]

async function states(url: string): Promise<Record<string, State>> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const names = await client.query<{ name: string }>(
      `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND n.nspname <> 'tidemark' ORDER BY 1`,
    )
    const found: Record<string, State> = {}
    for (const { name } of names.rows) {
      const row = (
        await client.query<{ v: string; c: boolean }>(
          `SELECT last_value::text AS v, is_called AS c FROM ${name}`,
        )
      ).rows[0]!
      found[name] = [row.v, row.c]
    }
    return found
  } finally {
    await client.end()
  }
}

/** Waits for a sample behind the last transaction, in its cut or behind it: each sample that is made says what is checked. */
async function sampled(backup: Backup): Promise<void> {
  await backup.durable()
  await backup.until(() => {
    const { segments, checked } = backup.repository.catalog.generation!
    return segments.last !== undefined && checked >= parsePosition(segments.last.body.end)
  })
}

const SETUP = `
  CREATE SEQUENCE at_51; SELECT setval('at_51', 51, false);
  CREATE SEQUENCE restarted; ALTER SEQUENCE restarted RESTART WITH 700;
  CREATE SEQUENCE unowned; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('unowned'), v text);
  CREATE SEQUENCE by_application INCREMENT BY 50; CREATE TABLE u (id bigint PRIMARY KEY);
  CREATE SEQUENCE down INCREMENT BY -1; CREATE TABLE d (id int PRIMARY KEY DEFAULT nextval('down'));
  CREATE SEQUENCE round MAXVALUE 10 CYCLE; CREATE SEQUENCE "near Max" AS smallint; SELECT setval('"near Max"', 32760);
  CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
  CREATE SEQUENCE packed; CREATE TABLE p (id bigint PRIMARY KEY DEFAULT (1000000 * nextval('packed')));
  CREATE SEQUENCE idle;
  CREATE SEQUENCE far; SELECT setval('far', 5000); CREATE SEQUENCE near; SELECT nextval('near');
`

test.each(oneVersion())(
  'what was set back while nobody watched, or got another file while it moved on, gives no value again (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: 'CREATE SEQUENCE s; CREATE SEQUENCE stepped; CREATE TABLE t (id int PRIMARY KEY)',
      rollMs: 2_000,
    })
    const { source } = backup
    const lsn = async (): Promise<string> =>
      (await source.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l
    await source.query("SELECT nextval('s') FROM generate_series(1, 4000); INSERT INTO t VALUES (1)")
    await sampled(backup)
    // ALTER SEQUENCE gives it another file, and it goes on in the same transaction.
    await source.query(
      "ALTER SEQUENCE stepped INCREMENT BY 1000; SELECT nextval('stepped') FROM generate_series(1, 40)",
    )
    await source.query('INSERT INTO t VALUES (2)')
    const stepped = await lsn()
    await source.query('INSERT INTO t VALUES (3)')
    await sampled(backup)
    await backup.stop()
    await source.query('INSERT INTO t VALUES (4)')
    const before = await lsn()
    await source.query("SELECT setval('s', 1); INSERT INTO t VALUES (5)")
    await backup.up()
    await source.query('INSERT INTO t VALUES (6)')
    await sampled(backup)
    const then = await states((await backup.restore(stepped)).url)
    expect(Number(then['public.stepped']![0])).toBeGreaterThanOrEqual(39_001)
    const restored = await states((await backup.restore(before)).url)
    expect(Number(restored['public.s']![0])).toBeGreaterThanOrEqual(4000)
    const latest = await states((await backup.restore('latest')).url)
    expect(Number(latest['public.s']![0])).toBeLessThan(4000)
  },
)

test.each(oneVersion())(
  'what was set back behind a point, without a record, gives no value of before it again (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE SEQUENCE free; CREATE TABLE t (id serial PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)',
    })
    const { source } = backup
    await source.query(
      "SELECT nextval('free') FROM generate_series(1, 500); INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 300); DELETE FROM t; INSERT INTO u VALUES (1)",
    )
    await sampled(backup)
    await source.query('INSERT INTO u VALUES (2)')
    const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!.l
    await source.query("SELECT setval('free', 3); TRUNCATE t RESTART IDENTITY; INSERT INTO u VALUES (3)")
    await sampled(backup)
    await source.query('INSERT INTO u VALUES (4)')
    await sampled(backup)
    const restored = await states((await backup.restore(at)).url)
    expect(Number(restored['public.free']![0])).toBeGreaterThanOrEqual(500)
    expect(Number(restored['public.t_id_seq']![0])).toBeGreaterThanOrEqual(300)
    // At the end they are what they are.
    expect(await states((await backup.restore('latest')).url)).toEqual(await states(backup.sourceUrl))
  },
)

test.each(oneVersion())(
  "an identity column's sequence that gets another name behind a point is no fresh one there (%s)",
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)',
    })
    const { source } = backup
    await source.query("SELECT nextval('i_id_seq') FROM generate_series(1, 50); INSERT INTO u VALUES (1)")
    await sampled(backup)
    await source.query("SELECT nextval('i_id_seq') FROM generate_series(1, 20); INSERT INTO u VALUES (2)")
    const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!.l
    // The first sample of a process has every sequence there is, and nothing of one that is gone.
    await backup.stop()
    await source.query('ALTER SEQUENCE i_id_seq RENAME TO other; INSERT INTO u VALUES (3)')
    await backup.up()
    await source.query('INSERT INTO u VALUES (4)')
    await sampled(backup)
    const [name, [value]] = Object.entries(await states((await backup.restore(at)).url))[0]!
    expect(name).toBe('public.i_id_seq')
    expect(Number(value)).toBeGreaterThanOrEqual(70)
    expect(await states((await backup.restore('latest')).url)).toEqual(await states(backup.sourceUrl))
  },
)

test.each(oneVersion())(
  'what the only sample of a sequence says under its next name counts for the name of before (%s)',
  async (version) => {
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE u (id int PRIMARY KEY)' })
    const { source } = backup
    await source.query('INSERT INTO u VALUES (0)')
    await sampled(backup)
    await backup.stop()
    await source.query(`CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); CREATE SEQUENCE own; CREATE SEQUENCE taken; INSERT INTO u VALUES (1);
    SELECT nextval('i_id_seq'), nextval('own') FROM generate_series(1, 70)`)
    const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!.l
    await source.query(
      'ALTER SEQUENCE i_id_seq RENAME TO other; ALTER SEQUENCE taken RENAME TO i_id_seq; ALTER SEQUENCE own RENAME TO taken; INSERT INTO u VALUES (2)',
    )
    await backup.up()
    await source.query('INSERT INTO u VALUES (3)')
    await sampled(backup)
    const then = await states((await backup.restore(at)).url)
    expect(Object.keys(then)).toEqual(['public.i_id_seq', 'public.own', 'public.taken'])
    for (const name of ['public.i_id_seq', 'public.own'])
      expect(Number(then[name]![0]), name).toBeGreaterThanOrEqual(70)
  },
)

test.each(oneVersion())(
  'a sequence comes back as it was, called or not, owned or not (%s)',
  async (version) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    // The base's own reading has the states of before.
    expect(await states((await backup.restore('latest')).url)).toEqual(await states(backup.sourceUrl))
    await source.query(`
    SELECT setval('at_51', 61, false); ALTER SEQUENCE restarted RESTART WITH 900;
    INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 40); INSERT INTO u SELECT nextval('by_application') FROM generate_series(1, 5);
    INSERT INTO d SELECT FROM generate_series(1, 7); SELECT nextval('round') FROM generate_series(1, 10); SELECT nextval('"near Max"');
    INSERT INTO i SELECT FROM generate_series(1, 3); INSERT INTO p SELECT FROM generate_series(1, 3)`)
    await sampled(backup)
    const { url, result } = await backup.restore('latest')
    expect(await states(url)).toEqual(await states(backup.sourceUrl))
    expect(result!.notes.filter((note) => note.includes('sequence'))).toEqual([])
    // Only what changed is recorded, and a restore still knows all of them.
    await source.query(
      `SELECT nextval('by_application'); INSERT INTO t (v) VALUES ('y'); ALTER SEQUENCE idle RENAME TO still`,
    )
    await sampled(backup)
    expect(await states((await backup.restore('latest')).url)).toEqual(await states(backup.sourceUrl))
    await backup.stop()
    await backup.up()
    await source.query(`SELECT nextval('still'), setval('at_51', 40, false); INSERT INTO t (v) VALUES ('z')`)
    await sampled(backup)
    expect(await states((await backup.restore('latest')).url)).toEqual(await states(backup.sourceUrl))
  },
)

test.each(oneVersion())(
  'without a sample behind the last commit each goes on further, and the report says so (%s)',
  async (version) => {
    // Cuts by size alone: no sample comes for minutes.
    await using backup = await Backup.start({ version, rollMs: 600_000, segmentBytes: 1, setup: SETUP })
    const { source } = backup
    await source.query(`
    INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 400);
    INSERT INTO d SELECT FROM generate_series(1, 400); INSERT INTO p SELECT FROM generate_series(1, 3); SELECT nextval('at_51');
    INSERT INTO u SELECT nextval('by_application') FROM generate_series(1, 20); SELECT nextval('"near Max"'); CREATE SEQUENCE fresh; SELECT nextval('fresh');
    ALTER SEQUENCE far RENAME TO other; ALTER SEQUENCE near RENAME TO far; ALTER SEQUENCE other RENAME TO near;
    INSERT INTO i SELECT FROM generate_series(1, 400); INSERT INTO t (v) VALUES ('last')`)
    // The rows alone: the reading of `fresh` would wait for the roll age.
    await backup.reached(await backup.head())
    await backup.crash()
    const was = await states(backup.sourceUrl)
    const { url, result } = await backup.restore('latest')
    expect(result!.notes.join()).toMatch(/no sample at or after this point tells the values of \d+ sequences/)
    const client = new pg.Client(url)
    await client.connect()
    const next = async (name: string): Promise<number> =>
      Number((await client.query<{ n: string }>(`SELECT nextval('${name}')::text AS n`)).rows[0]!.n)
    for (const name of [
      'at_51',
      'restarted',
      'unowned',
      'by_application',
      'packed',
      'idle',
      'fresh',
      'i_id_seq',
      'far',
      'near',
    ])
      expect(await next(name), name).toBeGreaterThan(Number(was[`public.${name}`]![0]))
    expect(await next('down')).toBeLessThan(Number(was['public.down']![0]))
    expect((await next('by_application')) % 50).toBe(1)
    // Not up to its end: what is left must not be lost to the margin; nor by rows that it did not number alone.
    expect(await next('"near Max"')).toBeLessThan(32767)
    expect(await next('packed')).toBeLessThan(1000)
    await client.query(
      `INSERT INTO t (v) VALUES ('goes on'); INSERT INTO d DEFAULT VALUES; INSERT INTO i DEFAULT VALUES`,
    )
    await client.end()
  },
)

test('rows raise a sequence within its limits, on its lattice, and only where they are its numbers', async () => {
  const client = new pg.Client(serverUrl('18'))
  await client.connect()
  try {
    await client.query(`BEGIN; CREATE SCHEMA q; SET search_path = q;
      CREATE SEQUENCE odd INCREMENT BY 2; CREATE TABLE a (id bigint DEFAULT nextval('odd')); CREATE TABLE b (id int DEFAULT nextval('odd')); INSERT INTO a VALUES (10); INSERT INTO b VALUES (20);
      CREATE SEQUENCE small MAXVALUE 100; CREATE TABLE c (id int DEFAULT nextval('small')); INSERT INTO c VALUES (5000);
      CREATE SEQUENCE full_one MAXVALUE 100; CREATE TABLE f (id int DEFAULT nextval('full_one')); INSERT INTO f VALUES (100);
      CREATE SEQUENCE circle MAXVALUE 100 CYCLE; CREATE TABLE d (id int DEFAULT nextval('circle')); INSERT INTO d VALUES (90);
      CREATE SEQUENCE words; CREATE TABLE e (id text DEFAULT nextval('words')); INSERT INTO e VALUES ('77');
      CREATE SEQUENCE high; CREATE TABLE h (id bigint DEFAULT nextval('high') * 1000); INSERT INTO h VALUES (9000);
      CREATE SEQUENCE below INCREMENT BY -5; CREATE TABLE g (id int DEFAULT nextval('below')); INSERT INTO g VALUES (-13);
      CREATE SEQUENCE parts; CREATE TABLE r (id int DEFAULT nextval('parts'), k int) PARTITION BY LIST (k); CREATE TABLE r1 PARTITION OF r FOR VALUES IN (1); INSERT INTO r VALUES (33, 1);
      CREATE SEQUENCE reserved; SELECT setval('reserved', 51, false); CREATE TABLE s (id int DEFAULT nextval('reserved')); INSERT INTO s VALUES (50);
      CREATE SEQUENCE lost MAXVALUE 9 START 3`)
    for (const { sql } of sequenceStatements({ sequences: [], restUncalled: true })) await client.query(sql)
    await client.query('SET search_path = q')
    const state = async (name: string): Promise<string> => {
      const row = (
        await client.query<{ v: string; c: boolean }>(
          `SELECT last_value::text AS v, is_called AS c FROM ${name}`,
        )
      ).rows[0]!
      return `${row.v} ${row.c ? 'called' : 'fresh'}`
    }
    expect({
      odd: await state('odd'),
      small: await state('small'),
      full_one: await state('full_one'),
      circle: await state('circle'),
      words: await state('words'),
      high: await state('high'),
      below: await state('below'),
      parts: await state('parts'),
      reserved: await state('reserved'),
    }).toEqual({
      odd: '21 called',
      small: '1 fresh',
      full_one: '100 called',
      circle: '1 fresh',
      words: '1 fresh',
      high: '1 fresh',
      below: '-16 called',
      parts: '33 called',
      reserved: '51 fresh',
    })
    const behind = { schema: 'q', isCalled: true, isBehind: true }
    const [, values] = sequenceStatements({
      restUncalled: false,
      sequences: [
        { ...behind, name: 'odd', lastValue: '21', advance: '600' },
        { ...behind, name: 'circle', lastValue: '99' },
        { ...behind, name: 'below', lastValue: '-16' },
        { ...behind, name: 'lost', lastValue: '100' },
        { ...behind, name: 'not there', lastValue: '1' },
      ],
    })
    await client.query(values!.sql)
    expect([await state('odd'), await state('circle'), await state('below'), await state('lost')]).toEqual([
      '1221 called',
      '99 called',
      '-176 called',
      '9 called',
    ])
  } finally {
    await client.end()
  }
})

test.each(testedVersions())(
  'PostgreSQL %s: more uncalled sequences than are read at once are read in turn, restarted ones at once',
  async (version) => {
    const url = new URL(serverUrl(version))
    const admin = new pg.Client(url.toString())
    await admin.connect()
    const database = `seq_${randomBytes(6).toString('hex')}`
    await admin.query(`CREATE DATABASE ${database}`)
    url.pathname = `/${database}`
    const client = await connect({ url: url.toString(), applicationName: 'test', role: 'source' })
    try {
      await client.query(
        `DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE format('CREATE SEQUENCE public.s%s', i); END LOOP; END $$`,
      )
      const reader = new SequenceReader(10)
      const values = async (): Promise<string[]> =>
        (await reader.read(client))
          .map(({ name, lastValue, isCalled }) => `${name} ${lastValue}${isCalled ? '' : ' fresh'}`)
          .sort()
      expect(await values()).toContain('s30 1 fresh')
      await client.query(
        `ALTER SEQUENCE public.s30 RESTART WITH 7; SELECT nextval('public.s29'); DROP SEQUENCE public.s28; SELECT setval('public.s27', 5, false)`,
      )
      const first = await values()
      expect(first).toHaveLength(29)
      expect(first).toContain('s30 7 fresh')
      expect(first).toContain('s29 1')
      await values()
      expect(await values()).toContain('s27 5 fresh')
    } finally {
      await client.end()
      await admin.query(`DROP DATABASE ${database} WITH (FORCE)`)
      await admin.end()
    }
  },
)

// What does not depend on the server's version.
describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a sequence that takes the name of another one behind the point says nothing of that one', async () => {
    await using backup = await Backup.start({
      version,
      rollMs: 1500,
      setup: `CREATE SEQUENCE q; CREATE SEQUENCE again; CREATE SEQUENCE dropped; CREATE TABLE t (id int)`,
    })
    const { source } = backup
    await source.query(
      `SELECT setval('q', 7000), setval('again', 7000), setval('dropped', 7000); INSERT INTO t VALUES (1)`,
    )
    await sampled(backup)
    expect((await states((await backup.restore('latest')).url))['public.q']?.[0]).toBe('7000')
    // The point's own sample is taken when all of this has been.
    await source.query('INSERT INTO t VALUES (2)')
    const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!.l
    await source.query(`ALTER SEQUENCE q RENAME TO was_q; CREATE SEQUENCE q; SELECT nextval('q');
      ALTER SEQUENCE again RESTART; DROP SEQUENCE dropped; CREATE SEQUENCE dropped`)
    await backup.durable()
    const restored = await states((await backup.restore(at)).url)
    for (const name of ['public.q', 'public.again', 'public.dropped'])
      expect(Number(restored[name]?.[0]), name).toBeGreaterThanOrEqual(7000)
  })
})
