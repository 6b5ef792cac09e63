/** Our own publication changes beside transactions that are open: what the server cannot send then is a gap, never silent. */
import { describe, expect, test } from 'vitest'
import { LISTED } from '../../services/replicator/ddl-watch.ts'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'
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

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  // Only PostgreSQL 18 has tables that make a list of a publication of all tables.
  const strict = Number(version) >= 18

  test('rows that open and prepared transactions wrote before the publication became a list', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const [open, other] = [await backup.client(), await backup.client()]
    await open.query(`BEGIN; INSERT INTO a VALUES (1000, 'open'); UPDATE a SET v = 'open' WHERE id = 1`)
    await other.query(
      `BEGIN; INSERT INTO b VALUES (1), (1); DELETE FROM a WHERE id = 2; PREPARE TRANSACTION 'p_${backup.database}'`,
    )
    await backup.source.query(strict ? VIRTUAL : 'SELECT tidemark.publish_list()')
    // The stream is behind the change before either of them commits.
    await backup.reached(await backup.head())
    await open.query(`INSERT INTO c VALUES (1); COMMIT`)
    await other.query(`COMMIT PREPARED 'p_${backup.database}'`)
    await backup.source.query(`INSERT INTO b VALUES (2); UPDATE a SET v = 'behind' WHERE id = 3`)
    if (strict) await backup.source.query('DROP TABLE virt')
    await backup.until(() => openGaps(backup).length === 0)
    await backup.durable()
    const gaps = backup.repository.catalog.gaps.filter(({ reason }) => reason === LISTED)
    expect(gaps.map(({ scope }) => scope.kind === 'table' && scope.name).sort()).toEqual(['a', 'b', 'c'])
    await equalToSource(backup)
  })

  test.runIf(strict)('the publication that up makes a list of is no hole in the stream', async () => {
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
    await backup.until(() => openGaps(backup).length > 0 && openGaps(backup).every((name) => name === 'virt'))
    await source.query('DROP TABLE virt')
    await backup.durable()
    expect(backup.repository.catalog.generation?.facts.generation).toBe(generation)
    await equalToSource(backup)
  })
})
