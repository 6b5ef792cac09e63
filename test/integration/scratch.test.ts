/** `doctor --scratch`: what a restore could not make, or not as it is, is known before. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { doctor } from '../../services/app/operations/doctor.ts'
import { examineSchemaOf } from '../../services/app/operations/scratch.ts'
import { Backup, testedVersions, oneVersion } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'
import { everyKind, withRoles } from '../support/every-kind.ts'

/** A check over a function that is gone at the scratch database, and a materialized view over what was dropped. */
const BROKEN = `CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v <> 'x')); INSERT INTO t VALUES (1, 'a'); CREATE VIEW w AS SELECT id FROM t;
  CREATE TABLE gone (v int); CREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT v FROM public.gone); END $$;
  CREATE MATERIALIZED VIEW m AS SELECT public.broken() AS v; DROP TABLE gone`

const CODES = /^(SCHEMA|TARGET)_/

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('what was made is compared with what was read: one object of every kind differs in nothing', async () => {
    await withRoles(version, async (roles) => {
      await using backup = await Backup.prepare({ version })
      await backup.source.query(everyKind(version, roles))
      await backup.init()
      const scratch = await backup.emptyDatabase()
      const { findings } = await examineSchemaOf(backup.sourceUrl, scratch, new AbortController().signal)
      expect(findings).toEqual([])
    })
  })
})

test.each(oneVersion())(
  'the schema is made in an empty database, and what cannot be made is a finding by name (%s)',
  async (version) => {
    await using backup = await Backup.prepare({ version, setup: BROKEN })
    await backup.init()
    const of = async (scratch: string | undefined): Promise<string[]> =>
      (await doctor(backup.config, { scratch })).findings.flatMap(({ code, what }) =>
        CODES.test(code) ? [`${code}: ${what.split(': ')[0]}`] : [],
      )
    expect(await of(undefined)).toEqual([])
    const scratch = await backup.emptyDatabase()
    expect(await of(scratch)).toEqual(['SCHEMA_UNMADE: a restore could not make materializedView public.m'])
    expect(await of(scratch)).toEqual(['TARGET_NOT_EMPTY: the schema could not be tried'])
    expect(await of(backup.sourceUrl)).toEqual(['TARGET_IS_SOURCE: the schema could not be tried'])
  },
)

test.each(oneVersion())('a difference is a finding by the name of the object (%s)', async (version) => {
  await using backup = await Backup.prepare({
    version,
    setup: 'CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY)',
  })
  await backup.init()
  const scratch = await backup.emptyDatabase()
  await query(
    scratch,
    `CREATE FUNCTION own() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
       IF to_regclass('public.t') IS NOT NULL AND obj_description(to_regclass('public.t')) IS NULL THEN COMMENT ON TABLE public.t IS 'another'; END IF; END $$;
     CREATE EVENT TRIGGER own ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION own()`,
  )
  const { findings } = await examineSchemaOf(backup.sourceUrl, scratch, new AbortController().signal)
  expect(findings.map(({ code, what }) => `${code}: ${what}`).sort()).toEqual([
    'SCHEMA_DIFFERS: a restore would make eventTrigger own, which the source does not have',
    'SCHEMA_DIFFERS: a restore would make function public.own, which the source does not have',
    'SCHEMA_DIFFERS: a restore would make table public.t otherwise than the source has it',
  ])
})

test('without a URL the embedded server is used, and the exit code says what it found', async () => {
  const version = testedVersions().at(-1)!
  await using backup = await Backup.prepare({ version, setup: BROKEN })
  await backup.init()
  const cwd = await mkdtemp(join(tmpdir(), 'tidemark-check-'))
  try {
    const check = () => tidemark(['doctor', '--scratch', '--source', backup.sourceUrl, '--json'], cwd)
    const found = await check()
    expect([found.code, found.last.error?.code]).toEqual([11, 'SCHEMA_UNMADE'])
    expect(found.last.error?.message).toMatch(/^a restore could not make materializedView public\.m: /)
    await backup.source.query('DROP MATERIALIZED VIEW m')
    const fine = await check()
    expect([fine.last['findings'] ?? fine.stdout, fine.code]).toEqual([[], 0])
  } finally {
    await rm(cwd, { recursive: true, force: true })
  }
})

async function query(url: string, sql: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query(sql)
  await client.end()
}

test('a role that reads the catalog and nothing else is enough', async () => {
  const version = testedVersions().at(-1)!
  await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const role = `check_${backup.database}`
  try {
    await backup.source.query(
      `CREATE ROLE ${role} LOGIN; GRANT USAGE ON SCHEMA tidemark TO ${role}; GRANT SELECT ON tidemark.ddl, tidemark.installation, tidemark.identity TO ${role};
       GRANT EXECUTE ON FUNCTION tidemark.parent_index(oid), tidemark.collation_name(oid), tidemark.access_method(oid), tidemark.identity_sequence(oid, int2), tidemark.not_nulls(oid), tidemark.table_state(oid), tidemark.parent_facts(oid), tidemark.part_comments(oid), tidemark.table_facts(oid), tidemark.attribute_shape(oid), tidemark.attributes(oid), tidemark.attribute_details(oid), tidemark.range_facts(oid), tidemark.domain_constraints(oid), tidemark.type_facts(oid), tidemark.sequence_facts(oid) TO ${role}`,
    )
    const url = new URL(backup.sourceUrl)
    url.username = role
    const scratch = await backup.emptyDatabase()
    const tried = await examineSchemaOf(url.toString(), scratch, new AbortController().signal)
    expect(tried).toEqual({ findings: [], notes: [] })
  } finally {
    await backup.source.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('what needs an extension that the scratch server lacks was not tried, and is no finding', async () => {
  const version = testedVersions().at(-1)!
  await using backup = await Backup.prepare({
    version,
    setup: 'CREATE EXTENSION hstore; CREATE TABLE t (id int PRIMARY KEY, v hstore)',
  })
  await backup.init()
  const scratch = await backup.emptyDatabase()
  // As where there is none: its name is taken.
  await query(scratch, 'CREATE TYPE public.ghstore AS (v int)')
  const { findings, notes } = await examineSchemaOf(backup.sourceUrl, scratch, new AbortController().signal)
  expect(findings.filter(({ code }) => code !== 'SCHEMA_DIFFERS')).toEqual([])
  const untried = (object: string): unknown =>
    expect.stringContaining(`${object} was not tried at the scratch database: `)
  expect(notes).toEqual(expect.arrayContaining([untried('extension hstore'), untried('table public.t')]))
})
