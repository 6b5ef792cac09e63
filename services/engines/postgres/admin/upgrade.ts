/**
 * The version of what `init` put into a source, and its replacement by this program's. Functions of an older version may
 * be exploitable or record too little, so nothing is read through them.
 */
import type pg from 'pg'
import { MAKE_AGAIN } from '../session/postgres-codes.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { Finding } from '../../../core/finding.ts'
import { LIMITS } from '../../../core/limits.ts'
import { quoteName } from '../dialect/quote.ts'
import { FUNCTIONS, grantFunctions, installedSql } from './install.ts'
import { connectionError, serverText, sqlState } from '../session/session.ts'

/** Of the scripts in sql/, as sql/version.sql says it. 1 is what had no version. */
export const INSTALLED_VERSION = 23

const UPGRADE = 'tidemark init --upgrade --source URL  (of the role that ran init)'

const NOT_INSTALLED = 'what Tidemark records schema changes with, the schema tidemark, is not in the source'

/** @returns undefined where nothing is installed */
export async function installedVersion(client: pg.Client): Promise<number | undefined> {
  const there = await client.query<{ installation: boolean; version: boolean }>(
    `SELECT pg_catalog.to_regclass('tidemark.installation') IS NOT NULL AS installation, pg_catalog.to_regprocedure('tidemark.version()') IS NOT NULL AS version`,
  )
  if (there.rows[0]?.installation !== true) return undefined
  if (!there.rows[0].version) return 1
  return (await client.query<{ version: number }>('SELECT tidemark.version() AS version')).rows[0]?.version
}

/** @throws TidemarkError INSTALLATION_MISSING */
export async function requireInstallation(client: pg.Client): Promise<void> {
  if ((await installedVersion(client)) === undefined)
    throw new TidemarkError('INSTALLATION_MISSING', NOT_INSTALLED)
}

export async function examineInstallation(client: pg.Client): Promise<Finding[]> {
  const version = await installedVersion(client)
  if (version === INSTALLED_VERSION) return []
  if (version === undefined)
    return [
      {
        level: 'refuse',
        code: 'INSTALLATION_MISSING',
        what: NOT_INSTALLED,
        fix: MAKE_AGAIN,
      },
    ]
  if (version > INSTALLED_VERSION)
    return [
      {
        level: 'refuse',
        code: 'INSTALLATION_NEWER',
        what: `a newer Tidemark has put version ${version} of its functions into the source; this one knows version ${INSTALLED_VERSION}`,
        fix: 'run the newer Tidemark',
      },
    ]
  return [
    {
      level: 'refuse',
      code: 'INSTALLATION_OLD',
      what: `the functions in the source are of version ${version}, this program needs version ${INSTALLED_VERSION}${version > 1 ? '' : ': through it any role that may create tables can become superuser'}`,
      fix: UPGRADE,
    },
  ]
}

/**
 * Replaces the functions and brings the tables to this version, in one transaction. Functions are replaced, not dropped:
 * a session that is just about to run one finds it.
 *
 * @returns the version that was there
 * @throws TidemarkError SOURCE_UNSUITABLE, SOURCE_PRIVILEGE, INSTALLATION_NEWER
 */
export async function upgradeInstallation(client: pg.Client): Promise<number> {
  await upgradable(client)
  try {
    await client.query('BEGIN')
    await client.query(`SET LOCAL lock_timeout = ${LIMITS.lockWaitMs * 5}`)
    await client.query('LOCK TABLE tidemark.installation IN EXCLUSIVE MODE')
    // Another upgrade may have come to its end while this one waited for the lock.
    const version = await upgradable(client)
    const [installed] = (
      await client.query<{ mode: string; grantee: string | null; owner: string }>(
        `SELECT i.mode, pg_catalog.to_jsonb(i) ->> 'grantee' AS grantee, pg_catalog.pg_get_userbyid(n.nspowner) AS owner FROM tidemark.installation i, pg_catalog.pg_namespace n WHERE n.nspname = 'tidemark'`,
      )
    ).rows
    if (installed === undefined)
      throw new TidemarkError('SOURCE_UNSUITABLE', 'the installation in this database is not complete', {
        next: 'tidemark uninstall, and init again',
      })
    if (installed.mode === 'triggers') await withoutRecording(client)
    // What is new belongs to whom all the rest belongs to.
    await client.query(`SET LOCAL ROLE ${quoteName(installed.owner)}`)
    for (let from = version; from < INSTALLED_VERSION; from++)
      await client.query(await installedSql(`upgrade-${from}`))
    for (const script of FUNCTIONS) await client.query(await installedSql(script))
    if (installed.mode === 'triggers') {
      await client.query(await installedSql('event-triggers'))
      // Made anew: one may be gone or disabled.
      for (const name of ['tidemark_before_drop', 'tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite'])
        await client.query(`DROP EVENT TRIGGER IF EXISTS ${name}`)
      await client.query(await installedSql('create-event-triggers'))
      await client.query(await installedSql('alter-trigger'))
    }
    if (installed.grantee !== null) await grantFunctions(client, installed.grantee)
    await client.query('COMMIT')
    return version
  } catch (error) {
    await client.query('ROLLBACK')
    if (sqlState(error) === '42501')
      throw new TidemarkError('SOURCE_PRIVILEGE', `the role may not upgrade: ${serverText(error)}`, {
        cause: error,
        next: UPGRADE,
      })
    throw connectionError(error, 'source')
  }
}

/**
 * For the rest of the transaction: the triggers of the older version would record what the upgrade does to our own objects
 * as the application's. A role that may not say so upgrades all the same, and those records tell nothing that a restore has.
 */
async function withoutRecording(client: pg.Client): Promise<void> {
  const [server] = (
    await client.query<{ version: number }>(
      `SELECT pg_catalog.current_setting('server_version_num')::int AS version`,
    )
  ).rows
  await client.query('SAVEPOINT recording')
  try {
    await client.query(
      (server?.version ?? 0) >= 170000
        ? 'SET LOCAL event_triggers = off'
        : 'SET LOCAL session_replication_role = replica; SET LOCAL tidemark.altering = on',
    )
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
    await client.query('ROLLBACK TO SAVEPOINT recording')
  }
}

async function upgradable(client: pg.Client): Promise<number> {
  const version = await installedVersion(client)
  if (version === undefined)
    throw new TidemarkError('INSTALLATION_MISSING', NOT_INSTALLED, {
      next: 'the same in the folder of tidemark.yaml, or with --config FILE; for a new backup: tidemark init',
    })
  if (version > INSTALLED_VERSION)
    throw new TidemarkError(
      'INSTALLATION_NEWER',
      `the source holds version ${version}, this program knows ${INSTALLED_VERSION}`,
    )
  return version
}
