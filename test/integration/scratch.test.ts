/** `doctor --scratch`: what a restore could not make is known before. */
import { describe, expect, test } from 'vitest'
import { doctor } from '../../services/app/doctor.ts'
import { Backup, testedVersions } from '../support/backup.ts'

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('the schema is made in an empty database, and what cannot be made is a finding by name', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v <> 'x')); INSERT INTO t VALUES (1, 'a'); CREATE VIEW w AS SELECT id FROM t;
        CREATE TABLE gone (v int); CREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT v FROM public.gone); END $$;
        CREATE MATERIALIZED VIEW m AS SELECT public.broken() AS v; DROP TABLE gone`,
    })
    await backup.init()
    const of = async (scratch: string | undefined): Promise<string[]> =>
      (await doctor(backup.config, { scratch })).findings.flatMap(({ code, what }) =>
        code === 'SCHEMA_UNMADE' || code.startsWith('TARGET_') ? [`${code}: ${what.split(': ')[0]}`] : [],
      )
    expect(await of(undefined)).toEqual([])
    const scratch = await backup.emptyDatabase()
    expect(await of(scratch)).toEqual(['SCHEMA_UNMADE: a restore could not make materializedView public.m'])
    expect(await of(scratch)).toEqual(['TARGET_NOT_EMPTY: the schema could not be tried'])
    expect(await of(backup.sourceUrl)).toEqual(['TARGET_IS_SOURCE: the schema could not be tried'])
  })
})
