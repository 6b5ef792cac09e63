/** Our own publication changes beside transactions that are open: what the server cannot send then is a gap, never silent. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { comparePositions, parsePosition, positionText } from '../../services/core/position.ts'
import { JOINED, LISTED, PUT_BACK } from '../../services/engines/postgres/dialect/table-losses.ts'
import { Backup, digests, oneVersion, shown, testedVersions } from '../support/backup.ts'
import { leftOut } from '../support/identities.ts'

const SETUP = `CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT g, 'x' FROM generate_series(1, 50) g; CREATE TABLE b (v int); CREATE TABLE c (id int PRIMARY KEY)`

const VIRTUAL = 'CREATE TABLE virt (a int, g int GENERATED ALWAYS AS (a * 2) VIRTUAL)'

async function equalToSource(backup: Backup): Promise<void> {
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
}

function openGaps(backup: Backup): string[] {
  return backup.repository.catalog.openGaps
    .flatMap(({ scope }) => (scope.kind === 'table' ? [scope.name] : []))
    .sort()
}

/** Tables with a gap, by its reason. */
function gapsOf(backup: Backup, reason: string): string[] {
  return backup.repository.catalog.gaps
    .flatMap((gap) => (gap.reason === reason && gap.scope.kind === 'table' ? [gap.scope.name] : []))
    .sort()
}

/** Streaming, with a publication that is a list, and every table read again. */
async function listed(version: string): Promise<Backup> {
  const backup = await Backup.start({ version, setup: SETUP })
  await backup.source.query('SELECT tidemark.publish_list()')
  await backup.durable()
  await backup.until(() => gapsOf(backup, LISTED).length === 3 && openGaps(backup).length === 0)
  return backup
}

/** Whether the publication is as Tidemark left it, so that nothing is taken for somebody's change. */
async function isNoted(backup: Backup): Promise<boolean> {
  const found = await backup.source.query(
    'SELECT FROM tidemark.published w FULL JOIN tidemark.publication_entries() e ON e.oid = w.oid WHERE w.entry IS DISTINCT FROM e.entry',
  )
  return found.rowCount === 0
}

/** Only PostgreSQL 18 has tables that make a list of a publication of all tables. */
const isStrict = (version: string): boolean => Number(version) >= 18

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('rows that open and prepared transactions wrote before the publication became a list', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const [open, other] = [await backup.client(), await backup.client()]
    await open.query(`BEGIN; INSERT INTO a VALUES (1000, 'open'); UPDATE a SET v = 'open' WHERE id = 1`)
    await other.query(
      `BEGIN; INSERT INTO b VALUES (1), (1); DELETE FROM a WHERE id = 2; PREPARE TRANSACTION 'p_${backup.database}'`,
    )
    await backup.source.query(isStrict(version) ? VIRTUAL : 'SELECT tidemark.publish_list()')
    // The stream is behind the change before either of them commits.
    await backup.reached(await backup.head())
    await open.query(`INSERT INTO c VALUES (1); COMMIT`)
    await other.query(`COMMIT PREPARED 'p_${backup.database}'`)
    await backup.source.query(`INSERT INTO b VALUES (2); UPDATE a SET v = 'behind' WHERE id = 3`)
    if (isStrict(version)) await backup.source.query('DROP TABLE virt')
    await backup.until(() => openGaps(backup).length === 0)
    await backup.durable()
    const gaps = backup.repository.catalog.gaps.filter(({ reason }) => reason === LISTED)
    expect(gaps.map(({ scope }) => scope.kind === 'table' && scope.name).sort()).toEqual(['a', 'b', 'c'])
    await equalToSource(backup)
  })

  test('a schema change whose record was written before the publication became a list is said to be uncertain', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const open = await backup.client()
    await open.query('BEGIN; CREATE VIEW unsent AS SELECT id FROM a')
    await backup.source.query(isStrict(version) ? VIRTUAL : 'SELECT tidemark.publish_list()')
    await backup.reached(await backup.head())
    await open.query('COMMIT')
    const point = await backup.head()
    await backup.source.query('INSERT INTO b VALUES (1)')
    await backup.until(() =>
      backup.repository.catalog.generation!.schemas.some(
        ({ body: { untold } }) =>
          untold !== undefined &&
          comparePositions(parsePosition(untold.from), point) < 0 &&
          comparePositions(parsePosition(untold.to), point) >= 0,
      ),
    )
  })

  test.runIf(isStrict(version))(
    'the publication that up makes a list of is no hole in the stream',
    async () => {
      await using backup = await Backup.start({ version, setup: SETUP })
      const { source } = backup
      await source.query(
        `CREATE TABLE dropped (v text); CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO dropped SELECT object_identity FROM pg_event_trigger_dropped_objects(); END $$;
       CREATE EVENT TRIGGER note_${backup.database} ON sql_drop EXECUTE FUNCTION note()`,
      )
      const generation = backup.repository.catalog.generation?.facts.generation
      await source.query(`SET event_triggers = off; ${VIRTUAL}; RESET event_triggers`)
      await backup.until(async () => (await leftOut(backup)).length === 1)
      await source.query(`INSERT INTO a VALUES (1001, 'behind')`)
      await backup.until(
        () => openGaps(backup).length > 0 && openGaps(backup).every((name) => name === 'virt'),
      )
      await source.query('DROP TABLE virt')
      await backup.durable()
      expect(backup.repository.catalog.generation?.facts.generation).toBe(generation)
      await equalToSource(backup)
    },
  )
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a table that somebody took out of the list and put back while no up ran, and while one runs', async () => {
    await using backup = await listed(version)
    const { source, slot } = backup
    const takeOut = async (table: string): Promise<void> => {
      await source.query(`ALTER PUBLICATION ${slot} DROP TABLE ${table}`)
      await source.query(`UPDATE a SET v = v || '-' WHERE id < 5; INSERT INTO c SELECT max(id) + 1 FROM c`)
      await source.query(
        `ALTER PUBLICATION ${slot} ADD TABLE ${table}; INSERT INTO a SELECT max(id) + 1 FROM a`,
      )
    }
    await source.query('INSERT INTO c VALUES (0)')
    await backup.durable()
    await backup.stop()
    await takeOut('a')
    await backup.up()
    await backup.until(() => gapsOf(backup, PUT_BACK).join() === 'a')
    await expect(backup.restore('latest'))
      .rejects.toMatchObject({ code: 'GAP' })
      .catch((error: unknown) => {
        // Read again already.
        if (openGaps(backup).length > 0) throw error
      })
    await backup.until(() => openGaps(backup).length === 0)
    await backup.durable()
    await equalToSource(backup)
    await takeOut('c')
    await backup.until(() => gapsOf(backup, PUT_BACK).includes('c') && openGaps(backup).length === 0)
    await backup.durable()
    await equalToSource(backup)
    expect(await isNoted(backup)).toBe(true)
    expect(backup.repository.catalog.generation?.facts.generation).toBe(1)
  })
})

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('what our own commands do to the list is no hole', async () => {
    await using backup = await listed(version)
    const { source } = backup
    await source.query('CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)')
    await source.query('CREATE TABLE bare (v int); INSERT INTO bare VALUES (1), (1); UPDATE bare SET v = 2')
    await source.query('CREATE TABLE made AS SELECT 1 AS id')
    await source.query(
      'CREATE TABLE gen (v int, d int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO gen VALUES (1)',
    )
    await source.query('DROP TABLE later; BEGIN; CREATE TABLE never (v int); ROLLBACK')
    // Where a list is none of an administrator's, the server refuses the first two.
    if (isStrict(version))
      await source.query(
        `ALTER TABLE c SET UNLOGGED; ALTER TABLE c SET LOGGED; ${VIRTUAL}; ALTER TABLE virt ADD PRIMARY KEY (a); INSERT INTO virt VALUES (1)`,
      )
    await backup.until(async () => (await leftOut(backup)).length === 0)
    await backup.durable()
    await backup.until(() => openGaps(backup).length === 0)
    await backup.until(() => isNoted(backup))
    // A gap ends where the copy that closed it began.
    await backup.durable()
    expect(gapsOf(backup, PUT_BACK)).toEqual([])
    expect(backup.repository.catalog.generation?.facts.generation).toBe(1)
    await equalToSource(backup)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('rows that CREATE TABLE AS wrote before its table came into the list are a gap of that, and no rows are none', async () => {
    await using backup = await listed(version)
    const { source } = backup
    const made = await source.query<{ at: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS at; CREATE TABLE made AS SELECT g AS id FROM generate_series(1, 9) g; SELECT g AS id INTO chosen FROM generate_series(1, 9) g; CREATE TABLE bare AS SELECT id FROM a WITH NO DATA; CREATE TABLE none AS SELECT id FROM a WHERE id < 0',
    )
    const [{ rows }] = made as unknown as readonly [typeof made]
    await source.query(
      'INSERT INTO made VALUES (10); INSERT INTO bare VALUES (1); INSERT INTO none VALUES (1)',
    )
    await backup.durable()
    await backup.until(() => openGaps(backup).length === 0)
    await backup.durable()
    const { gaps } = backup.repository.catalog
    expect(gapsOf(backup, JOINED)).toEqual(['chosen', 'made'])
    expect(
      gaps.map(({ reason }) => reason).filter((reason) => reason !== LISTED && reason !== JOINED),
    ).toEqual([])
    // The table was not there before.
    const before = parsePosition(rows[0]!.at)
    for (const gap of gaps)
      if (gap.reason === JOINED) expect(comparePositions(gap.from, before)).toBeGreaterThan(0)
    await equalToSource(backup)
  })

  test('a new table does not wait for whoever else changes the list', { timeout: 120_000 }, async () => {
    await using backup = await listed(version)
    const { source } = backup
    const other = await backup.client()
    await other.query('BEGIN; CREATE TABLE open (id int PRIMARY KEY)')
    const began = performance.now()
    for (let i = 0; i < 20; i++)
      await source.query(`CREATE TABLE beside_${i} (id int PRIMARY KEY); INSERT INTO beside_${i} VALUES (1)`)
    // Two seconds each would be 40.
    expect(performance.now() - began).toBeLessThan(20_000)
    await other.query('COMMIT')
    await backup.until(async () => (await leftOut(backup)).length === 0)
    await backup.durable()
    await backup.until(() => openGaps(backup).length === 0)
    await backup.durable()
    await equalToSource(backup)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a publication that somebody changed and set right while no up ran: a gap of everything, and a new base', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source, slot } = backup
    await source.query(`INSERT INTO a VALUES (999, 'before')`)
    const before = shown(await digests(backup.sourceUrl))
    const point = await backup.head()
    // Up to here everything was seen to be well.
    await source.query('SELECT tidemark.touch()')
    await backup.until(() => comparePositions(backup.repository.catalog.generation!.checked, point) >= 0)
    await backup.stop()
    await source.query(`ALTER PUBLICATION ${slot} SET (publish = 'insert')`)
    await source.query(`UPDATE a SET v = 'unseen' WHERE id < 5`)
    await source.query(`ALTER PUBLICATION ${slot} SET (publish = 'insert, update, delete, truncate')`)
    await backup.up()
    await backup.until(() => backup.repository.catalog.generation?.facts.generation === 2)
    await backup.until(() => backup.repository.catalog.generation?.base !== undefined)
    await backup.durable()
    await equalToSource(backup)
    expect(shown(await digests((await backup.restore(`${positionText(point)}@1`)).url))).toEqual(before)
    expect(await isNoted(backup)).toBe(true)
  })

  test('a new generation that could not begin forgets nothing of what somebody did to the publication', async () => {
    const role = `r_${randomBytes(4).toString('hex')}`
    await using backup = await Backup.prepare({
      version,
      setup: `${SETUP}; CREATE ROLE ${role} LOGIN`,
      grantTo: role,
    })
    const { source, slot } = backup
    const url = new URL(backup.sourceUrl)
    url.username = role
    const sourceUrl = url.toString()
    try {
      await backup.init()
      await backup.up({ sourceUrl })
      await backup.durable()
      await backup.stop()
      await source.query(`ALTER PUBLICATION ${slot} SET (publish = 'insert')`)
      await source.query(`UPDATE a SET v = 'unseen' WHERE id < 5`)
      await source.query(`ALTER PUBLICATION ${slot} SET (publish = 'insert, update, delete, truncate')`)
      await source.query('REVOKE EXECUTE ON FUNCTION pg_catalog.pg_drop_replication_slot(name) FROM PUBLIC')
      await expect(backup.up({ sourceUrl, newGeneration: 'asked for' })).rejects.toMatchObject({
        code: 'SOURCE_PRIVILEGE',
      })
      await source.query('GRANT EXECUTE ON FUNCTION pg_catalog.pg_drop_replication_slot(name) TO PUBLIC')
      expect(await isNoted(backup)).toBe(false)
      await backup.up({ sourceUrl })
      await backup.until(() => backup.repository.catalog.generation?.facts.generation === 2)
      await backup.until(() => backup.repository.catalog.generation?.base !== undefined)
      await backup.durable()
      await equalToSource(backup)
    } finally {
      await backup.crash()
      await source.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a list that somebody took away and made again, where nothing is committed between', async () => {
    await using backup = await listed(version)
    const { source, slot } = backup
    const open = await backup.client()
    await open.query(`BEGIN; INSERT INTO a VALUES (1000, 'open')`)
    await source.query(
      `BEGIN; ${isStrict(version) ? 'SET LOCAL event_triggers = off;' : ''} DROP PUBLICATION ${slot}; CREATE PUBLICATION ${slot} FOR TABLE a, b, c, tidemark.ddl, tidemark.marker, tidemark.installation; COMMIT`,
    )
    await source.query(`INSERT INTO b VALUES (1)`)
    await open.query('COMMIT')
    await backup.until(() => backup.repository.catalog.generation?.facts.generation === 2)
    await backup.until(() => backup.repository.catalog.generation?.base !== undefined)
    await backup.durable()
    await equalToSource(backup)
  })

  test('a list without the tables that tell schema changes is refused', async () => {
    await using backup = await listed(version)
    await backup.source.query(`ALTER PUBLICATION ${backup.slot} DROP TABLE tidemark.ddl`)
    await expect(backup.running).rejects.toMatchObject({ code: 'PUBLICATION_UNSAFE' })
  })
})

describe.each(testedVersions().filter(isStrict))('PostgreSQL %s', (version) => {
  test('a server without room for the locks of a list holds nothing up', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    // As CREATE PUBLICATION fails with more tables than max_locks_per_transaction makes room for.
    await source.query(
      `CREATE OR REPLACE FUNCTION tidemark.tend_identity(wanted oid, OUT outcome text, OUT recorded text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
         AS $$ BEGIN RAISE 'out of shared memory' USING ERRCODE = '53200'; END $$; SET event_triggers = off; ${VIRTUAL}; RESET event_triggers`,
    )
    await backup.until(() =>
      backup.events.some((e) => e.event === 'identity' && e.table === 'public.virt' && e.now === 'locked'),
    )
    await source.query(`INSERT INTO a VALUES (1002, 'behind')`)
    // Made unseen, it is read again.
    await backup.until(() => backup.repository.catalog.gaps.length === 1 && openGaps(backup).length === 0)
    await backup.durable()
    expect(backup.events.filter(({ event }) => event === 'retry')).toEqual([])
    await equalToSource(backup)
  })
})
