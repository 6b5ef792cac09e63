/** A restore must not give the source's users more rights than they had: none of their code runs by the administrator's. */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, serverUrl, shown, testedVersions } from '../support/backup.ts'

async function ask<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query<T>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Roles of the cluster for one test: `evil` owns what it can, `app` is another. */
class Roles implements AsyncDisposable {
  readonly evil = `evil_${randomBytes(4).toString('hex')}`
  readonly app = `app_${randomBytes(4).toString('hex')}`
  readonly made = `made_${randomBytes(4).toString('hex')}`
  readonly #server: string

  private constructor(server: string) {
    this.#server = server
  }

  static async create(version: string): Promise<Roles> {
    const roles = new Roles(serverUrl(version))
    await ask(roles.#server, `CREATE ROLE ${roles.evil}; CREATE ROLE ${roles.app}`)
    return roles
  }

  /** What an attack gained: rights of its role, a role of its making. */
  async gained(): Promise<unknown[]> {
    return await ask(
      this.#server,
      `SELECT rolname FROM pg_roles WHERE (rolname = '${this.evil}' AND (rolsuper OR rolcreaterole OR rolcreatedb)) OR rolname = '${this.made}'`,
    )
  }

  async left(): Promise<unknown[]> {
    return await ask(this.#server, `SELECT rolname FROM pg_roles WHERE rolname LIKE 'tidemark\\_restore\\_%'`)
  }

  /** A function body that tries all it can, and says nothing about it. */
  attack(result: string): string {
    return `BEGIN
      BEGIN PERFORM set_config('role', 'none', true); EXECUTE 'ALTER ROLE ${this.evil} SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
      BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXECUTE 'CREATE ROLE ${this.made} SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
      BEGIN EXECUTE 'ALTER ROLE ${this.evil} CREATEROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
      RETURN ${result}; END`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const role of [this.evil, this.app, this.made])
      await ask(this.#server, `DROP ROLE IF EXISTS ${role}`).catch(() => undefined)
  }
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('code of the source in checks, indexes, generated columns, domains and views gains nothing', async () => {
    await using roles = await Roles.create(version)
    const { evil, app } = roles
    await using backup = await Backup.prepare({ version })
    // The functions are harmless at the source until all is made: there they would have run as its administrator.
    await backup.source.query(`
      CREATE SCHEMA own AUTHORIZATION ${evil}; CREATE SCHEMA closed;
      CREATE FUNCTION own.check_it(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END'; ALTER FUNCTION own.check_it OWNER TO ${evil};
      CREATE FUNCTION own.index_it(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'; ALTER FUNCTION own.index_it OWNER TO ${evil};
      CREATE FUNCTION own.definer_it(int) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN own.check_it($1); END';
      CREATE DOMAIN own.d AS int; CREATE DOMAIN own.held AS int CHECK (own.check_it(VALUE));
      CREATE TABLE own.mine (id int PRIMARY KEY, n int CHECK (own.check_it(n)), g int GENERATED ALWAYS AS (own.index_it(n)) STORED, d own.d, h own.held[]); ALTER TABLE own.mine OWNER TO ${evil};
      ALTER DOMAIN own.d ADD CHECK (own.check_it(VALUE)); ALTER DOMAIN own.d OWNER TO ${evil};
      CREATE INDEX ON own.mine (own.index_it(n)); INSERT INTO own.mine (id, n, d, h) VALUES (1, 1, 1, '{1}'), (2, 2, 2, '{2}');
      CREATE TABLE boss (id int PRIMARY KEY, n int CHECK (own.check_it(n)) CHECK (own.definer_it(n)), g int GENERATED ALWAYS AS (own.index_it(n)) STORED); CREATE INDEX ON boss (own.index_it(n)); INSERT INTO boss VALUES (1, 1);
      CREATE MATERIALIZED VIEW mat AS SELECT own.index_it(n) AS n FROM boss; CREATE UNIQUE INDEX ON mat (n); CREATE MATERIALIZED VIEW own.mat2 AS SELECT id FROM own.mine WHERE own.check_it(n); ALTER MATERIALIZED VIEW own.mat2 OWNER TO ${evil};
      CREATE TABLE closed.t (id int PRIMARY KEY, n int CHECK (own.check_it(n))); CREATE INDEX ON closed.t (own.index_it(n)); ALTER TABLE closed.t OWNER TO ${app}; INSERT INTO closed.t VALUES (1, 1); GRANT USAGE ON SCHEMA own, closed TO ${app};
      CREATE TABLE parts (a int, n int) PARTITION BY LIST (own.index_it(n)); CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1, 1);
      CREATE OR REPLACE FUNCTION own.check_it(int) RETURNS boolean LANGUAGE plpgsql AS $attack$${roles.attack('true')}$attack$;
      CREATE OR REPLACE FUNCTION own.index_it(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $attack$${roles.attack('$1')}$attack$`)
    await backup.init()
    await backup.up()
    await backup.durable()
    const { url, result, unmadeFile } = await backup.restore()
    expect(await roles.gained()).toEqual([])
    expect([result!.unmade.map((u) => `${u.object}: ${u.reason}`), unmadeFile]).toEqual([[], null])
    expect(await roles.left()).toEqual([])
    const owners = `SELECT c.oid::regclass::text AS name, relowner::regrole::text AS owner, (SELECT array_agg(conname ORDER BY conname) FROM pg_constraint WHERE conrelid = c.oid AND convalidated) AS checks FROM pg_class c WHERE relnamespace IN ('own'::regnamespace, 'public'::regnamespace, 'closed'::regnamespace) AND relkind IN ('r', 'p', 'm', 'i') ORDER BY 1`
    expect(await ask(url, owners)).toEqual(await ask(backup.sourceUrl, owners))
    const routines = `SELECT oid::regprocedure::text AS name, proowner::regrole::text AS owner FROM pg_proc WHERE pronamespace = 'own'::regnamespace ORDER BY 1`
    expect(await ask(url, routines)).toEqual(await ask(backup.sourceUrl, routines))
    const domains = `SELECT contypid::regtype::text AS type, convalidated FROM pg_constraint WHERE contypid <> 0 ORDER BY 1`
    expect(await ask(url, domains)).toEqual(await ask(backup.sourceUrl, domains))
    expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
    expect(await ask(url, 'SELECT * FROM mat')).toEqual([{ n: 1 }])
    // The attack is one: trusted, it takes the cluster over.
    await backup.restore('latest', { trustSourceCode: true })
    expect(await roles.gained()).not.toEqual([])
    // Dropping the databases lets go of the roles.
    await backup[Symbol.asyncDispose]()
  })
})

test('functions of the source find what they name without a schema, as they do in the application', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE allowed (n int PRIMARY KEY); INSERT INTO allowed VALUES (2); CREATE VIEW seen AS SELECT * FROM allowed; CREATE TABLE k (id int PRIMARY KEY, n int); INSERT INTO k VALUES (1, 2);
      CREATE FUNCTION ok(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM seen WHERE n = $1); END'; ALTER TABLE k ADD CONSTRAINT seen CHECK (ok(n));
      CREATE FUNCTION helper(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'; CREATE FUNCTION twice(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper($1) * 2; END';
      CREATE TABLE g (id int PRIMARY KEY, n int CHECK (twice(n) > 0), d int GENERATED ALWAYS AS (twice(id)) STORED); INSERT INTO g VALUES (1, 1), (2, 2)`,
  })
  const { url, result } = await backup.restore()
  expect(result!.unmade).toEqual([])
  expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
  expect(await ask(url, `SELECT conname FROM pg_constraint WHERE NOT convalidated`)).toEqual([])
})

test('where no role without rights can log in: rows are refused that would run code, a check stays NOT VALID', async () => {
  await using backup = await Backup.start({
    setup: `CREATE FUNCTION twice(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * 2; END'; CREATE TABLE k (id int PRIMARY KEY, n int CONSTRAINT calls CHECK (twice(n) > 0) CONSTRAINT plain CHECK (n > 0)); INSERT INTO k VALUES (1, 1)`,
  })
  // Administrators do not count to the limit.
  const into = await backup.emptyDatabase('CONNECTION LIMIT 0')
  const checked = await backup.restore('latest', { into })
  expect(checked.result!.unmade.map((u) => [u.object, u.reason])).toEqual([
    ['constraint public.k.calls', expect.stringContaining('--trust-source-code')],
  ])
  await rm(checked.unmadeFile!)
  expect(
    await ask(
      into,
      `SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'k'::regclass AND contype = 'c' ORDER BY 1`,
    ),
  ).toEqual([
    { conname: 'calls', convalidated: false },
    { conname: 'plain', convalidated: true },
  ])
  await backup.source.query(
    'CREATE TABLE g (id int PRIMARY KEY, d int GENERATED ALWAYS AS (twice(id)) STORED); INSERT INTO g VALUES (1)',
  )
  await backup.durable()
  const other = await backup.emptyDatabase('CONNECTION LIMIT 0')
  await expect(backup.restore('latest', { into: other })).rejects.toMatchObject({ code: 'TARGET_UNSUITABLE' })
  const trusted = await backup.restore('latest', { trustSourceCode: true })
  expect(trusted.result!.unmade).toEqual([])
  expect(await ask(trusted.url, 'SELECT * FROM g')).toEqual([{ id: 1, d: 2 }])
})
