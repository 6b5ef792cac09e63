/** Replica identities: the application's UPDATE and DELETE must work whatever its migrations do, and get back what they had. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { doctor } from '../../services/app/operations/doctor.ts'
import { removeFromSource } from '../../services/app/operations/init.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, shown, testedVersions, oneVersion } from '../support/backup.ts'
import { identityOf, leftOut, published, withoutAdmin, worksSoon } from '../support/identities.ts'

async function equalToSource(backup: Backup): Promise<void> {
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('FULL that Tidemark gave is taken back when a primary key comes, and only then', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE owned (id int, v int); ALTER TABLE owned REPLICA IDENTITY FULL; CREATE TABLE old (id int, v text); INSERT INTO old VALUES (1, 'a'), (2, 'b')`,
    })
    const app = await backup.client()
    expect(await identityOf(backup, 'old')).toBe('f')
    // As pg_dump and most migrations write it: the key a statement later.
    await app.query(`CREATE TABLE made (id int NOT NULL, v text)`)
    expect(await identityOf(backup, 'made')).toBe('f')
    await app.query(`INSERT INTO made VALUES (1, 'a'), (2, 'b'), (3, 'c')`)
    await app.query(`UPDATE made SET v = 'x' WHERE id = 1`)
    await app.query(`ALTER TABLE ONLY made ADD CONSTRAINT made_pkey PRIMARY KEY (id)`)
    await app.query(`ALTER TABLE old ADD PRIMARY KEY (id)`)
    await app.query(`ALTER TABLE owned ADD PRIMARY KEY (id)`)
    expect(await identityOf(backup, 'made')).toBe('d')
    expect(await identityOf(backup, 'old')).toBe('d')
    expect(await identityOf(backup, 'owned')).toBe('f')
    await app.query(`UPDATE made SET id = id + 10, v = v || 'y'; DELETE FROM made WHERE id = 12`)
    await app.query(`UPDATE old SET v = 'z' WHERE id = 2`)
    // A key that is no identity.
    await app.query(
      `CREATE TABLE late (id int NOT NULL); ALTER TABLE late ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED; INSERT INTO late VALUES (1), (2)`,
    )
    expect(await identityOf(backup, 'late')).toBe('f')
    await app.query('UPDATE late SET id = id + 1')
    // Topics are partitioned by a column that the key will lack.
    await app.query(
      `SELECT tidemark.keep_identities(ARRAY['public.spread']); CREATE TABLE spread (id int NOT NULL, room int); ALTER TABLE spread ADD PRIMARY KEY (id)`,
    )
    expect(await identityOf(backup, 'spread')).toBe('f')
    await backup.durable()
    await equalToSource(backup)
    await backup.stop()
    await removeFromSource(backup.sourceUrl)
    expect(await identityOf(backup, 'late')).toBe('d')
    expect(await identityOf(backup, 'made')).toBe('d')
    expect(await identityOf(backup, 'owned')).toBe('f')
  })

  test('without an administrator: a replaced identity index leaves UPDATE failing for seconds at most', async () => {
    await withoutAdmin(
      version,
      `CREATE TABLE chat (room int NOT NULL, seq int NOT NULL, body text); CREATE UNIQUE INDEX chat_old ON chat (room, seq); ALTER TABLE chat REPLICA IDENTITY USING INDEX chat_old; INSERT INTO chat SELECT g % 3, g, 'a' FROM generate_series(1, 100) g`,
      async (backup, app) => {
        await backup.up()
        await app.query(`CREATE UNIQUE INDEX chat_new ON chat (seq, room)`)
        await app.query(`DROP INDEX chat_old`)
        // A long reader must neither be waited for nor keep others from working.
        const reader = await backup.client()
        await reader.query('BEGIN; SELECT count(*) FROM chat')
        await worksSoon(backup, app, `UPDATE chat SET body = body || 'b' WHERE seq < 10`)
        for (let i = 0; i < 20; i++) await app.query(`UPDATE chat SET body = 'c' WHERE seq = $1`, [i])
        const findings = (await doctor(backup.config)).findings
        expect(findings.map((finding) => finding.code)).toContain('LEFT_OUT')
        expect(backup.events).toContainEqual({ event: 'identity', table: 'public.chat', now: 'left out' })
        // Its changes are not in the stream: never a restore that does not say so.
        await backup.durable()
        await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'GAP' })
        await reader.query('COMMIT')
        await published(backup)
        expect(await identityOf(backup, 'chat')).toBe('f')
        await app.query(`UPDATE chat SET body = 'd' WHERE seq > 90; DELETE FROM chat WHERE seq = 50`)
        await backup.durable()
        await equalToSource(backup)
      },
    )
  })

  test('without an administrator: keys dropped and added in autocommit under load', async () => {
    await withoutAdmin(
      version,
      `CREATE TABLE t (id int CONSTRAINT t_key PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 200) g`,
      async (backup, app) => {
        await backup.up()
        const worker = await backup.client()
        let slowest = 0
        let working = true
        const load = (async () => {
          while (working) {
            const from = performance.now()
            await worksSoon(backup, worker, 'UPDATE t SET v = v + 1 WHERE id = 1 + (random() * 199)::int')
            slowest = Math.max(slowest, performance.now() - from)
          }
        })()
        for (let round = 0; round < 5; round++) {
          await app.query('ALTER TABLE t DROP CONSTRAINT t_key')
          await worksSoon(backup, app, 'UPDATE t SET v = v + 1 WHERE id = 7')
          await app.query('ALTER TABLE t ADD CONSTRAINT t_key PRIMARY KEY (id)')
        }
        working = false
        await backup.guard(load)
        expect(slowest).toBeLessThan(60_000)
        await published(backup)
        await app.query('UPDATE t SET v = v + 1; DELETE FROM t WHERE id = 9')
        await backup.durable()
        await equalToSource(backup)
      },
    )
  })

  test('a generated column in the key, or beside none: UPDATE works, and what is not in the stream is said', async () => {
    const strict = Number(version) >= 18
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE early (a int, g int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO early VALUES (1), (2);
        CREATE TABLE keyed (a int, g int GENERATED ALWAYS AS (a * 2) STORED, v int, PRIMARY KEY (a, g)); INSERT INTO keyed (a, v) VALUES (1, 1), (2, 2);
        CREATE TABLE beside (a int NOT NULL, g int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (g)); CREATE UNIQUE INDEX beside_a ON beside (a); INSERT INTO beside VALUES (1), (2);
        CREATE TABLE virt (a int, g int GENERATED ALWAYS AS (a * 2) ${strict ? 'VIRTUAL' : 'STORED'}); INSERT INTO virt VALUES (1), (2);
        CREATE TABLE other (id int PRIMARY KEY)`,
    })
    await backup.init()
    expect(await identityOf(backup, 'beside')).toBe('i')
    for (const name of ['keyed', 'early']) expect(await identityOf(backup, name)).toBe('f')
    await backup.up()
    const app = await backup.client()
    for (const name of ['early', 'keyed', 'beside', 'virt'])
      await app.query(`UPDATE ${name} SET a = a + 10 WHERE a = 1; DELETE FROM ${name} WHERE a = 2`)
    await app.query(`INSERT INTO other VALUES (1)`)
    await backup.durable()
    // Stored ones can be published; virtual ones are nowhere but in the reader's query.
    const except = strict ? ['public.virt'] : []
    expect((await leftOut(backup)).sort()).toEqual(except)
    if (strict) {
      await backup.until(() => backup.repository.catalog.openGaps.length === 1)
      await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'GAP' })
    }
    const restored = await backup.restore('latest', { exceptTables: except })
    const isIn = (line: string): boolean => !except.some((name) => line.startsWith(`${name}:`))
    expect(shown(await digests(restored.url)).filter(isIn)).toEqual(
      shown(await digests(backup.sourceUrl)).filter(isIn),
    )
    await app.query(
      'ALTER TABLE virt ADD PRIMARY KEY (a); ALTER TABLE early ADD PRIMARY KEY (a); ALTER TABLE keyed DROP CONSTRAINT keyed_pkey',
    )
    await app.query(
      'ALTER TABLE keyed ADD PRIMARY KEY (a); UPDATE keyed SET a = a + 1; UPDATE early SET a = 7; UPDATE virt SET a = 7',
    )
    expect(await identityOf(backup, 'early')).toBe('d')
    await published(backup)
    await equalToSource(backup)
  })

  test('a table without a key gets a stored generated column in mid-stream: rows with and without it are told apart', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE bare (a int, v text); INSERT INTO bare VALUES (1, 'a'), (1, 'a'), (2, NULL);
        CREATE TABLE keyed (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED, w text); INSERT INTO keyed VALUES (1, 1, DEFAULT, 'w'), (2, 2, DEFAULT, 'w')`,
    })
    const app = await backup.client()
    const points: { readonly at: string; readonly rows: string[] }[] = []
    const seen = async (): Promise<void> => {
      points.push({ at: positionText(await backup.durable()), rows: shown(await digests(backup.sourceUrl)) })
    }
    await app.query("UPDATE bare SET v = 'b' WHERE a = 2; UPDATE keyed SET v = 3 WHERE id = 1")
    await seen()
    // One transaction, as a migration does: the change of the publication is in the midst of its rows.
    await app.query(
      `BEGIN; UPDATE bare SET v = 'c' WHERE a = 2; UPDATE keyed SET v = 4; ALTER TABLE bare ADD COLUMN g int GENERATED ALWAYS AS (a * 3) STORED;
       UPDATE bare SET v = 'd' WHERE a = 1; DELETE FROM bare WHERE a = 2; INSERT INTO bare VALUES (4, 'x'), (5, NULL); UPDATE keyed SET v = v + 1 WHERE id = 2; COMMIT`,
    )
    await seen()
    await app.query(
      `CREATE TABLE fresh (a int, g int GENERATED ALWAYS AS (a * 3) STORED, b text); INSERT INTO fresh VALUES (1, DEFAULT, 'a'), (1, DEFAULT, 'a'); UPDATE fresh SET b = 'b'; DELETE FROM fresh WHERE ctid = (SELECT min(ctid) FROM fresh)`,
    )
    await app.query(
      "UPDATE keyed SET id = id + 10; ALTER TABLE keyed DROP COLUMN g; UPDATE keyed SET w = 'x'; DELETE FROM keyed WHERE id = 12; UPDATE bare SET a = a + 1",
    )
    await seen()
    await backup.crash()
    await backup.up()
    await app.query(
      "ALTER TABLE bare DROP COLUMN g; UPDATE bare SET v = 'z' WHERE a = 2; INSERT INTO bare VALUES (9, 'y'); DELETE FROM bare WHERE a = 6",
    )
    await seen()
    for (const { at, rows } of points)
      expect(shown(await digests((await backup.restore(at)).url)), at).toEqual(rows)
    expect(backup.events.filter((event) => event.event === 'gap')).toEqual([])
  })

  test('tables that come with their schema have an identity behind the same command', async () => {
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE other (id int PRIMARY KEY)' })
    const app = await backup.client()
    await app.query(
      'CREATE SCHEMA side CREATE TABLE pk (a int PRIMARY KEY) PARTITION BY RANGE (a) CREATE TABLE fk (fk_a int REFERENCES pk (a) ON DELETE CASCADE) CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (30) TO (50)',
    )
    await app.query('INSERT INTO side.pk VALUES (35)')
    await app.query('INSERT INTO side.fk VALUES (35)')
    await app.query('DELETE FROM side.pk WHERE a = 35')
    expect(await identityOf(backup, 'side.fk')).toBe('f')
  })

  test('with a list of tables, what the server refuses of published ones still works', async () => {
    const strict = Number(version) >= 18
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE out (a int, g int GENERATED ALWAYS AS (a * 2) ${strict ? 'VIRTUAL' : 'STORED'}); CREATE SCHEMA side; CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE side.t (id int PRIMARY KEY, v int);
        CREATE TABLE "Odd one" (id int PRIMARY KEY); CREATE TABLE counted (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) ${strict ? 'VIRTUAL' : 'STORED'}); INSERT INTO t VALUES (1, 1)`,
    })
    await backup.init()
    await backup.up()
    const app = await backup.client()
    // In front and behind in one transaction: all of its rows stay in the stream.
    await app.query(
      `BEGIN; INSERT INTO side.t VALUES (1, 1); INSERT INTO counted VALUES (1); UPDATE t SET v = 2; ALTER TABLE t SET UNLOGGED; ALTER TABLE "Odd one" SET UNLOGGED; INSERT INTO side.t VALUES (2, 2); COMMIT`,
    )
    if (strict) await app.query(`ALTER TABLE ONLY public.counted ALTER COLUMN g SET EXPRESSION AS (id * 3)`)
    await app.query(`INSERT INTO counted VALUES (2); UPDATE side.t SET v = v + 1`)
    expect(await leftOut(backup)).toEqual(strict ? ['public.out'] : [])
    await backup.durable()
    // What was left out before the stream began is a gap by the next look at it.
    await backup.until(() => backup.repository.catalog.openGaps.length === (strict ? 1 : 0))
    await app.query('ALTER TABLE t SET LOGGED; UPDATE t SET v = 3; INSERT INTO t VALUES (2, 2)')
    await backup.durable()
    await backup.until(() => backup.repository.catalog.openGaps.length === (strict ? 1 : 0))
    await app.query('DROP TABLE out')
    await backup.durable()
    await equalToSource(backup)
  })

  test('the first table that no identity serves leaves a publication of all tables, in its own transaction', async () => {
    // Only PostgreSQL 18 has columns that keep FULL from serving; before it the same history needs no list.
    const strict = Number(version) >= 18
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE other (id int PRIMARY KEY)' })
    const app = await backup.client()
    await app.query(
      `BEGIN; INSERT INTO other VALUES (1); CREATE TABLE virt (a int, g int GENERATED ALWAYS AS (a * 2) ${strict ? 'VIRTUAL' : 'STORED'});
       INSERT INTO virt VALUES (1), (2); UPDATE virt SET a = 5 WHERE a = 1; DELETE FROM virt WHERE a = 2; INSERT INTO other VALUES (2); COMMIT`,
    )
    // From here on each new table joins the list in its own command.
    await app.query(
      `CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1); CREATE TABLE bare (v int); INSERT INTO bare VALUES (1), (1); UPDATE bare SET v = 2`,
    )
    await app.query('CREATE TABLE chosen AS SELECT id FROM other; UPDATE chosen SET id = id + 1')
    expect(await leftOut(backup)).toEqual(strict ? ['public.virt'] : [])
    await backup.durable()
    await backup.until(() => backup.repository.catalog.openGaps.length === (strict ? 1 : 0))
    if (strict) {
      expect((await doctor(backup.config)).findings).toContainEqual(
        expect.objectContaining({ code: 'LEFT_OUT', level: 'warn' }),
      )
      await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'GAP' })
    }
    await app.query('ALTER TABLE virt ADD PRIMARY KEY (a); UPDATE virt SET a = 6')
    await published(backup)
    await equalToSource(backup)
    await backup.crash()
    await backup.up()
    await app.query('UPDATE virt SET a = 7; INSERT INTO chosen VALUES (9)')
    await backup.durable()
    await equalToSource(backup)
  })

  test('NOTHING never makes UPDATE fail: the table gets its key or FULL, doctor says it, uninstall puts it back', async () => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE keyed (id int PRIMARY KEY, v int); CREATE TABLE bare (v int); INSERT INTO keyed VALUES (1, 1); INSERT INTO bare VALUES (1)',
    })
    const app = await backup.client()
    await app.query('ALTER TABLE keyed REPLICA IDENTITY NOTHING; ALTER TABLE bare REPLICA IDENTITY NOTHING')
    await app.query('UPDATE keyed SET v = 2; UPDATE bare SET v = 2')
    expect([await identityOf(backup, 'keyed'), await identityOf(backup, 'bare')]).toEqual(['d', 'f'])
    const said = (await doctor(backup.config)).findings.filter(({ code }) => code === 'IDENTITY_NOTHING')
    expect(said.map(({ what }) => /"(\w+)" was set/.exec(what)?.[1])).toEqual(['bare', 'keyed'])
    await backup.durable()
    await equalToSource(backup)
    await backup.stop()
    await removeFromSource(backup.sourceUrl)
    expect([await identityOf(backup, 'keyed'), await identityOf(backup, 'bare')]).toEqual(['n', 'n'])
  })
})

test.each(oneVersion())(
  'uninstall gives back what each table had before, NOTHING too, but not what another publication lives by (%s)',
  async (version) => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE bare (v int); CREATE TABLE quiet (id int, v int); ALTER TABLE quiet REPLICA IDENTITY NOTHING; CREATE TABLE indexed (id int NOT NULL); CREATE UNIQUE INDEX indexed_id ON indexed (id); CREATE TABLE shared (v int); CREATE TABLE chosen (id int NOT NULL, other int NOT NULL); CREATE UNIQUE INDEX chosen_id ON chosen (id); CREATE UNIQUE INDEX chosen_other ON chosen (other); ALTER TABLE chosen REPLICA IDENTITY USING INDEX chosen_other`,
    })
    await backup.init()
    const identities = async (): Promise<(string | undefined)[]> => {
      const found: (string | undefined)[] = []
      for (const name of ['bare', 'quiet', 'indexed', 'shared', 'chosen'])
        found.push(await identityOf(backup, name))
      return found
    }
    expect(await identities()).toEqual(['f', 'f', 'i', 'f', 'i'])
    await backup.source.query('CREATE PUBLICATION elsewhere FOR TABLE shared; INSERT INTO shared VALUES (1)')
    try {
      const { left } = await removeFromSource(backup.sourceUrl)
      expect(left).toEqual([expect.stringContaining('"public"."shared" REPLICA IDENTITY DEFAULT') as string])
      expect(await identities()).toEqual(['d', 'n', 'd', 'f', 'i'])
      await backup.source.query('UPDATE shared SET v = 2')
    } finally {
      await backup.source.query('DROP PUBLICATION elsewhere')
    }
  },
)

test.each(oneVersion())(
  'a restored table has the identity that the application gave it, not ours (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE bare (a int); INSERT INTO bare VALUES (1);
      CREATE TABLE loose (a int NOT NULL UNIQUE, b int);
      CREATE TABLE shut (id int PRIMARY KEY); ALTER TABLE shut REPLICA IDENTITY NOTHING;
      CREATE TABLE shut_bare (a int); ALTER TABLE shut_bare REPLICA IDENTITY NOTHING;
      CREATE TABLE whole (id int PRIMARY KEY); ALTER TABLE whole REPLICA IDENTITY FULL;
      CREATE TABLE chosen (id int PRIMARY KEY, code text NOT NULL); CREATE UNIQUE INDEX code ON chosen (code); ALTER TABLE chosen REPLICA IDENTITY USING INDEX code`,
    })
    const { source } = backup
    await source.query(
      'CREATE TABLE later (a int); ALTER TABLE bare ADD COLUMN b int; INSERT INTO later VALUES (1)',
    )
    const point = await backup.durable()
    await source.query('ALTER TABLE later ADD PRIMARY KEY (a); ALTER TABLE whole ADD COLUMN v text')
    await backup.durable()
    const identities = async (url: string): Promise<Record<string, string>> => {
      const client = new pg.Client(url)
      await client.connect()
      const found = await client.query<{ name: string; identity: string }>(
        `SELECT relname AS name, relreplident::text AS identity FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1`,
      )
      await client.end()
      return Object.fromEntries(found.rows.map(({ name, identity }) => [name, identity]))
    }
    const applications = {
      bare: 'd',
      chosen: 'i',
      later: 'd',
      loose: 'd',
      shut: 'n',
      shut_bare: 'n',
      whole: 'f',
    }
    expect(await identities(backup.sourceUrl)).toEqual({
      ...applications,
      bare: 'f',
      loose: 'i',
      shut: 'd',
      shut_bare: 'f',
    })
    for (const at of ['latest', positionText(point)])
      expect(await identities((await backup.restore(at)).url), at).toEqual(applications)
  },
)
