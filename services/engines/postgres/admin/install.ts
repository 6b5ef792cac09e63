/** What `init` puts into a source and `uninstall` takes out: schema, event triggers, publication, identities, slot. */
import { readFile } from 'node:fs/promises'
import type pg from 'pg'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { parsePosition, type Position } from '../../../core/position.ts'
import { quoteName, quoteTable } from '../dialect/quote.ts'
import { giveBackIdentities, giveIdentities, type IdentityChange, identityChanges } from './identities.ts'
import { APPLICATION_NAME, EVENT_TRIGGERS } from '../session/names.ts'
import { connect, connectionError, serverText, sqlState } from '../session/session.ts'

export interface Installation {
  readonly stream: string
  readonly publication: string
  readonly slot: string
}

/** How schema changes are seen: by event triggers, or, where the role may not make them, by asking again and again. */
export type InstallationMode = 'triggers' | 'polling'

/** The scripts of sql/ with functions that every installation has, in this order; each can run again and replaces them. */
export const FUNCTIONS = ['version', 'facts', 'identity', 'publication', 'records', 'repair', 'tend'] as const

export function installedSql(name: string): Promise<string> {
  return readFile(new URL(`../sql/${name}.sql`, import.meta.url), 'utf8')
}

export interface InstallationPlan {
  readonly mode: InstallationMode
  readonly identities: readonly IdentityChange[]
}

/** What `install` would do here: done in a transaction that is rolled back, so that nothing is left and nothing is guessed. */
export function planInstallation(client: pg.Client, installation: Installation): Promise<InstallationPlan> {
  return installing(client, 'ROLLBACK', async () => {
    const mode = await prepare(client, installation)
    return { mode, identities: await identityChanges(client) }
  })
}

/**
 * Schema and functions first, so that every identity that is given is remembered; then what the application meets:
 * publication and, where the role may make them, event triggers, all or nothing.
 */
export async function install(
  client: pg.Client,
  installation: Installation,
  { mode, identities }: InstallationPlan,
  clock: Clock,
): Promise<void> {
  await installing(client, 'COMMIT', () => makeFunctions(client, installation, mode))
  try {
    await giveIdentities(client, identities, clock)
    await installing(client, 'COMMIT', async () => {
      await client.query(await installedSql('first-records'))
      await publish(client, mode)
    })
  } catch (error) {
    await uninstall(client, installation, clock)
    throw error
  }
}

/** Schema, functions and the one row that says whose they are. */
async function makeFunctions(
  client: pg.Client,
  { stream, publication, slot }: Installation,
  mode: InstallationMode,
): Promise<void> {
  for (const script of ['tables', ...FUNCTIONS]) await client.query(await installedSql(script))
  await client.query(
    'INSERT INTO tidemark.installation (stream, publication, slot, mode) VALUES ($1, $2, $3, $4)',
    [stream, publication, slot, mode],
  )
}

/** Those, and the mode that the role's rights allow. */
async function prepare(
  client: pg.Client,
  installation: Installation,
  again = false,
): Promise<InstallationMode> {
  await makeFunctions(client, installation, 'triggers')
  await client.query('SAVEPOINT rights')
  try {
    if (again) await client.query(`DROP PUBLICATION IF EXISTS ${quoteName(installation.publication)}`)
    await publish(client, 'triggers')
    await client.query('ROLLBACK TO rights')
    return 'triggers'
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
    await client.query('ROLLBACK TO rights')
    await client.query(`UPDATE tidemark.installation SET mode = 'polling'`)
    return 'polling'
  }
}

/** A list of tables where the role may not make a publication of all, or where a table has to be left out of it. */
async function publish(client: pg.Client, mode: InstallationMode): Promise<void> {
  if (mode === 'triggers') await makeTriggers(client)
  await client.query('SELECT tidemark.publish($1)', [mode === 'triggers'])
}

/** Those that record come last: they would run for each command that makes the others. */
async function makeTriggers(client: pg.Client): Promise<void> {
  for (const script of ['event-triggers', 'alter-trigger', 'create-event-triggers'])
    await client.query(await installedSql(script))
}

async function installing<T>(
  client: pg.Client,
  end: 'COMMIT' | 'ROLLBACK',
  action: () => Promise<T>,
): Promise<T> {
  await client.query(`SET lock_timeout = ${LIMITS.lockWaitMs * 5}`)
  try {
    // The server would read each body of ours twice: when it is made, and when it is run.
    await client.query('BEGIN; SET LOCAL check_function_bodies = off')
    const done = await action()
    await client.query(end)
    return done
  } catch (error) {
    await client.query('ROLLBACK')
    if (sqlState(error) === '42P06')
      throw new TidemarkError('SOURCE_UNSUITABLE', 'this database already has a schema named tidemark', {
        cause: error,
        next: 'where it is what an init left that was cut off: tidemark uninstall --source URL --yes, then init again; another backup would end with it',
      })
    if (sqlState(error) === '42710')
      throw new TidemarkError('SOURCE_UNSUITABLE', serverText(error), {
        cause: error,
        next: 'tidemark uninstall',
      })
    if (sqlState(error) === '42501') {
      throw new TidemarkError('SOURCE_PRIVILEGE', `the role may not install: ${serverText(error)}`, {
        cause: error,
        next: 'run init once with a superuser URL; or with a role that owns every table, may CREATE in the database and has REPLICATION (schema changes are then found by asking)',
      })
    }
    throw connectionError(error, 'source')
  } finally {
    await client.query('SET lock_timeout = 0')
  }
}

/**
 * The publication again, where somebody dropped it or made it leave out changes. What passed meanwhile is gone from the stream, so
 * a row is written while there is none: whoever reads on meets it there, and cannot pass over the hole.
 */
export async function publishAgain(
  client: pg.Client,
  { publication, mode }: { readonly publication: string; readonly mode: InstallationMode },
): Promise<void> {
  await installing(client, 'COMMIT', () =>
    client.query(`DROP PUBLICATION IF EXISTS ${quoteName(publication)}`),
  )
  await installing(client, 'COMMIT', () => client.query('SELECT tidemark.touch()'))
  await installing(client, 'COMMIT', () => client.query('SELECT tidemark.publish($1)', [mode === 'triggers']))
}

/** What `installAgain` would do to tables of the application. */
export function planAgain(client: pg.Client, installation: Installation): Promise<InstallationPlan> {
  return installing(client, 'ROLLBACK', async () => {
    const mode = await prepare(client, installation, true)
    return { mode, identities: await identityChanges(client) }
  })
}

/** Everything but the slot, where somebody dropped the schema `tidemark`: the backup's stream goes on behind a hole. */
export async function installAgain(
  client: pg.Client,
  installation: Installation,
  { mode, identities }: InstallationPlan,
  clock: Clock,
): Promise<void> {
  const { publication } = installation
  await installing(client, 'COMMIT', () => makeFunctions(client, installation, mode))
  await giveIdentities(client, identities, clock)
  await installing(client, 'COMMIT', async () => {
    await client.query(await installedSql('first-records'))
    if (mode === 'triggers') await makeTriggers(client)
  })
  await publishAgain(client, { publication, mode })
}

/** What a role needs of our schema; an upgrade gives it again for what is new. */
export async function grantFunctions(client: pg.Client, role: string): Promise<void> {
  const name = quoteName(role)
  await client.query(
    `GRANT USAGE ON SCHEMA tidemark TO ${name}; GRANT SELECT ON ALL TABLES IN SCHEMA tidemark TO ${name}; GRANT INSERT ON tidemark.marker TO ${name}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidemark TO ${name}`,
  )
  await client.query(
    `REVOKE EXECUTE ON FUNCTION tidemark.record_table(text, oid), tidemark.record_type(text, oid), tidemark.ensure_identity(oid), tidemark.set_identity(oid, text), tidemark.ensure_published(oid, text), tidemark.leave_out(oid), tidemark.publish(boolean), tidemark.publish_list() FROM ${name}`,
  )
}

/** What `up` needs of a role other than the one that installed; REPLICATION and BYPASSRLS are attributes that only an administrator gives. */
export async function grantTo(client: pg.Client, role: string): Promise<void> {
  const name = quoteName(role)
  try {
    await client.query('BEGIN')
    await grantFunctions(client, role)
    // What the role had before stays its own when we leave.
    const has = (
      await client.query<{ read: boolean; replication: boolean; bypass: boolean }>(
        `SELECT pg_has_role($1, 'pg_read_all_data', 'MEMBER') AS read, rolreplication AS replication, rolbypassrls AS bypass FROM pg_roles WHERE rolname = $1`,
        [role],
      )
    ).rows[0]
    const granted = [
      ...(has?.read === true ? [] : ['pg_read_all_data']),
      ...(has?.replication === true ? [] : ['REPLICATION']),
      ...(has?.bypass === true ? [] : ['BYPASSRLS']),
    ]
    await client.query(`GRANT pg_read_all_data TO ${name}`)
    await client.query(`ALTER ROLE ${name} REPLICATION BYPASSRLS`)
    await client.query('UPDATE tidemark.installation SET grantee = $1, granted = $2', [role, granted])
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    if (sqlState(error) === '42704')
      throw new TidemarkError('SOURCE_PRIVILEGE', `the role ${role} does not exist`, {
        cause: error,
        next: `CREATE ROLE ${name} LOGIN PASSWORD …; then run init again`,
      })
    throw new TidemarkError(
      'SOURCE_PRIVILEGE',
      `the role ${role} cannot be given what up needs: ${serverText(error)}`,
      { cause: error, next: 'run init with a superuser URL' },
    )
  }
}

export async function readInstallation(client: pg.Client): Promise<Installation | undefined> {
  try {
    return (
      await client.query<{ stream: string; publication: string; slot: string }>(
        'SELECT stream, publication, slot FROM tidemark.installation',
      )
    ).rows[0]
  } catch (error) {
    if (sqlState(error) === '42P01' || sqlState(error) === '3F000') return undefined
    throw connectionError(error, 'source')
  }
}

/** @returns undefined where the row that says it is gone */
export async function readMode(
  client: pg.Client,
): Promise<{ readonly publication: string; readonly mode: InstallationMode } | undefined> {
  const { rows } = await client.query<{ publication: string; mode: InstallationMode }>(
    'SELECT publication, mode FROM tidemark.installation',
  )
  return rows[0]
}

/** Makes the permanent slot; waits for every transaction that is open now. */
export async function createSlot(url: string, slot: string, serverVersion: number): Promise<Position> {
  const client = await connect({ url, applicationName: APPLICATION_NAME, replication: true, role: 'source' })
  try {
    const options = serverVersion >= 170000 ? "(SNAPSHOT 'nothing', FAILOVER true)" : 'NOEXPORT_SNAPSHOT'
    const made = await client.query<{ consistent_point: string }>(
      `CREATE_REPLICATION_SLOT ${quoteName(slot)} LOGICAL pgoutput ${options}`,
    )
    return parsePosition(made.rows[0]?.consistent_point ?? '')
  } catch (error) {
    if (sqlState(error) === '42710')
      throw new TidemarkError('SOURCE_UNSUITABLE', `a slot named ${slot} already exists`, {
        cause: error,
        next: 'tidemark uninstall, or another --name',
      })
    if (sqlState(error) === '53400')
      throw new TidemarkError('SOURCE_UNSUITABLE', 'all replication slots are in use', {
        cause: error,
        next: 'ALTER SYSTEM SET max_replication_slots = …; then restart the server',
      })
    throw connectionError(error, 'source')
  } finally {
    await client.end()
  }
}

/** Slots of other databases with the same name are not ours and stay. */
export async function dropSlot(client: pg.Client, slot: string): Promise<void> {
  await client.query(
    'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database() AND active_pid IS NOT NULL',
    [slot],
  )
  for (let left = 50; ; left--) {
    try {
      await client.query(
        'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()',
        [slot],
      )
      return
    } catch (error) {
      // 55006: the walsender has not ended yet.
      if (sqlState(error) !== '55006' || left <= 0) throw connectionError(error, 'source')
      await client.query('SELECT pg_sleep(0.1)')
    }
  }
}

/**
 * Takes out everything that init put in, and gives the tables the identities back that they had before.
 *
 * @returns statements that are left to the administrator: identities that could not be changed now, and rights where a
 *   role is the whole cluster's and another database's backup may live by it
 */
export async function uninstall(
  client: pg.Client,
  installation: Installation,
  clock: Clock,
): Promise<readonly string[]> {
  await dropSlot(client, installation.slot)
  const rights = await grantedRights(client)
  for (const name of EVENT_TRIGGERS) await client.query(`DROP EVENT TRIGGER IF EXISTS ${name}`)
  await client.query(`DROP PUBLICATION IF EXISTS ${quoteName(installation.publication)}`)
  const left = [...(await giveBackIdentities(client, clock))]
  await client.query(await installedSql('uninstall'))
  if (rights.length === 0) return left
  const others = await client.query(
    `SELECT FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary AND database <> current_database()`,
  )
  if (others.rowCount !== 0) return [...left, ...rights]
  for (const statement of rights) {
    try {
      await client.query(statement)
    } catch (error) {
      if (sqlState(error) !== '42501') throw connectionError(error, 'source')
      left.push(statement)
    }
  }
  return left
}

/**
 * What is left where somebody dropped the schema `tidemark`: slot and publication. Which tables were given FULL went with it.
 *
 * @returns for each table that has FULL, the statement that takes it: whether Tidemark gave it, only its owner knows
 */
export async function uninstallRest(
  client: pg.Client,
  { slot, publication }: Pick<Installation, 'slot' | 'publication'>,
): Promise<readonly string[]> {
  await dropSlot(client, slot)
  await client.query(`DROP PUBLICATION IF EXISTS ${quoteName(publication)}`)
  const full = await client.query<{ schema: string; name: string }>(
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relreplident = 'f' AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2`,
  )
  return full.rows.map(
    (table) =>
      `ALTER TABLE ONLY ${quoteTable(table)} REPLICA IDENTITY DEFAULT  -- if Tidemark gave it FULL: who did was noted in the schema that is gone`,
  )
}

/** What takes back what `grantTo` gave to the role and it did not have before (older installations did not note it); rights in our schema go with it. */
async function grantedRights(client: pg.Client): Promise<string[]> {
  const found = await client.query<{ role: string; granted: string[] }>(
    `SELECT r.rolname AS role, ARRAY(SELECT jsonb_array_elements_text(coalesce(to_jsonb(i) -> 'granted', '[]'))) AS granted FROM tidemark.installation i JOIN pg_roles r ON r.rolname = to_jsonb(i) ->> 'grantee'`,
  )
  return found.rows.flatMap(({ role, granted }) =>
    granted.map((right) =>
      right === 'pg_read_all_data'
        ? `REVOKE pg_read_all_data FROM ${quoteName(role)}`
        : `ALTER ROLE ${quoteName(role)} NO${right}`,
    ),
  )
}
