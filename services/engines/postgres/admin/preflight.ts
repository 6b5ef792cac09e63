/** Findings about a source: each with what it means and the fix. `refuse` stops init and up; `warn` is said. */
import type pg from 'pg'
import type { Finding } from '../../../core/finding.ts'
import { quoteName } from '../dialect/quote.ts'
import { examineIdentities } from './examine-identities.ts'
import { examinePublication, examineTriggers } from './examine-publication.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { serverFaults } from './server-faults.ts'
import { examineInstallation } from './upgrade.ts'

const OLDEST = 140000

/** A running job is the sender itself, and what was written before the publication went still comes. */
const OF_STREAM: ReadonlySet<string> = new Set(['SENDERS', 'PUBLICATION_MISSING'])

export async function examine(
  client: pg.Client,
  options: { readonly publication?: string; readonly slot?: string } = {},
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const one = async (sql: string, values: unknown[] = []): Promise<Record<string, string | null>> =>
    (await client.query<Record<string, string | null>>(sql, values)).rows[0] ?? {}
  const say = (level: Finding['level'], code: string, what: string, fix = ''): void =>
    void findings.push({ level, code, what, fix })
  const settings =
    await one(`SELECT current_setting('server_version_num') AS version, current_setting('wal_level') AS wal_level, current_setting('max_replication_slots') AS slots, current_setting('max_wal_senders') AS senders,
    current_setting('max_slot_wal_keep_size') AS keep, current_setting('synchronous_standby_names') AS sync, current_setting('server_encoding') AS encoding, pg_is_in_recovery()::text AS recovery,
    (SELECT count(*)::text FROM pg_replication_slots) AS used, (SELECT count(*)::text FROM pg_stat_replication) AS sending, (SELECT count(*)::text FROM pg_prepared_xacts) AS prepared`)
  if (Number(settings['version']) < OLDEST)
    say('refuse', 'VERSION', 'PostgreSQL is older than 14', 'upgrade the server')
  findings.push(...serverFaults(Number(settings['version'])))
  if (settings['wal_level'] !== 'logical')
    say(
      'refuse',
      'WAL_LEVEL',
      `wal_level is ${settings['wal_level']}`,
      'ALTER SYSTEM SET wal_level = logical; then restart the server',
    )
  if (settings['recovery'] === 'true')
    say('refuse', 'STANDBY', 'the server is a standby', "give the primary's URL")
  if (Number(settings['used']) >= Number(settings['slots']) && options.slot === undefined)
    say(
      'refuse',
      'SLOTS',
      'all replication slots are in use',
      'ALTER SYSTEM SET max_replication_slots = …; then restart the server',
    )
  if (Number(settings['sending']) >= Number(settings['senders']))
    say(
      'refuse',
      'SENDERS',
      'all WAL senders are in use',
      'ALTER SYSTEM SET max_wal_senders = …; then restart the server',
    )
  if (settings['keep'] === '-1')
    say(
      'warn',
      'WAL_BUDGET',
      'max_slot_wal_keep_size is unlimited: while Tidemark is away, WAL may fill the disk',
      "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();  (a lost slot costs a gap and a new base; a full disk costs the service)",
    )
  const sync = settings['sync'] ?? ''
  if (sync.includes('*') || sync.includes(APPLICATION_NAME))
    say(
      'refuse',
      'SYNCHRONOUS',
      `synchronous_standby_names (${sync}) would make commits wait for the backup`,
      'name the real standbys in synchronous_standby_names',
    )
  if (settings['prepared'] !== '0')
    say(
      'warn',
      'PREPARED',
      `${settings['prepared']} prepared transactions are open: they hold back the slot`,
      'COMMIT PREPARED or ROLLBACK PREPARED the old ones (pg_prepared_xacts)',
    )
  const role = await one(
    `SELECT rolname AS name, rolsuper::text AS super, rolreplication::text AS replication, rolbypassrls::text AS bypass FROM pg_roles WHERE rolname = current_user`,
  )
  if (role['super'] !== 'true' && role['replication'] !== 'true')
    say(
      'refuse',
      'REPLICATION',
      `the role ${role['name']} may not replicate`,
      `ALTER ROLE ${quoteName(role['name'] ?? '')} REPLICATION  (by a superuser)`,
    )
  if (role['super'] !== 'true' && role['bypass'] !== 'true') {
    const secured = await one(`SELECT count(*)::text AS n FROM pg_class WHERE relrowsecurity`)
    if (secured['n'] !== '0')
      say(
        'refuse',
        'ROW_SECURITY',
        `${secured['n']} tables have row-level security, which would hide rows from the base`,
        `ALTER ROLE ${quoteName(role['name'] ?? '')} BYPASSRLS  (by a superuser)`,
      )
  }
  const others = await client.query<{ name: string }>(
    `SELECT p.pubname AS name FROM pg_publication p WHERE p.puballtables AND p.pubname <> $1`,
    [options.publication ?? ''],
  )
  for (const other of others.rows) {
    say(
      'warn',
      'OTHER_PUBLICATION',
      `publication ${other.name} publishes all tables, those of the schema tidemark too: its subscribers stop at the first row they do not know`,
      `on each subscriber: CREATE SCHEMA tidemark and the tables ddl, marker, installation; or make ${other.name} a publication of named schemas`,
    )
  }
  if (options.publication !== undefined) {
    const installed = await examineInstallation(client)
    const mode = await installedMode(client)
    const publication = await examinePublication(client, options.publication, mode)
    findings.push(...installed, ...publication)
    // Other versions have other triggers; theirs are asked for once the versions agree.
    if (installed.length === 0) findings.push(...(await examineTriggers(client, mode)))
    // Without a publication every table is left out of it, for that one reason.
    if (publication.every(({ level }) => level !== 'refuse'))
      findings.push(...(await examineIdentities(client)))
  }
  if (options.slot !== undefined) {
    const slot = await one(
      `SELECT wal_status AS status, plugin, two_phase::text AS two_phase FROM pg_replication_slots WHERE slot_name = $1`,
      [options.slot],
    )
    if (slot['status'] === undefined)
      say(
        'refuse',
        'SLOT_MISSING',
        `the slot ${options.slot} does not exist: somebody dropped it, or this is a copy of the source`,
        'where this is the database to protect: tidemark up --new-generation  (a gap, and a new base)',
      )
    else if (slot['status'] === 'lost')
      say(
        'refuse',
        'SLOT_LOST',
        `the slot ${options.slot} is lost: the source removed WAL that it still needed`,
        'tidemark up  (starts a new generation, with a new base)',
      )
  }
  return findings.map((finding) =>
    OF_STREAM.has(finding.code) ? { ...finding, isOfStream: true as const } : finding,
  )
}

async function installedMode(client: pg.Client): Promise<string | undefined> {
  const found = await client
    .query<{ mode: string }>('SELECT mode FROM tidemark.installation')
    .catch(() => undefined)
  return found?.rows[0]?.mode
}
