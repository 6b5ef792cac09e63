/**
 * Roles of a restore's own: code of the source runs in sessions that logged in as a role without any right of its own,
 * so that nothing it does (SET ROLE, set_config, RESET) leads to more. The administrator's own session never runs it:
 * there it could go back to being the administrator.
 *
 * An owner with rights over the server is replaced, for a step, by a role that owns nothing else.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import type pg from 'pg'
import { TidemarkError } from '../../../core/errors.ts'
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { connectionError } from '../session/session.ts'
import type { OwnedObject } from './source-code.ts'
import { WireSession } from '../session/wire-session.ts'

/** Rights over the server or its other databases: held itself, or through a membership. */
const POWERFUL = `SELECT EXISTS (SELECT FROM pg_roles r, pg_roles m WHERE r.rolname = $1 AND pg_has_role(r.oid, m.oid, 'MEMBER')
  AND (m.rolsuper OR m.rolcreaterole OR m.rolreplication OR m.rolbypassrls OR (m.oid < 16384 AND m.rolname LIKE 'pg\\_%' AND m.rolname <> 'pg_database_owner'))) AS powerful`

const DATABASE_PATH = `SELECT substr(c, length('search_path=') + 1) AS path FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c
  WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND c LIKE 'search_path=%'`

const WITHOUT_RIGHTS = 'NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION'

interface Login {
  readonly name: string
  readonly url: string
}

export interface RestoreRolesOptions {
  readonly url: string
  readonly applicationName: string
  readonly searchPath: string | undefined
  /** The administrator's connection. */
  readonly admin: () => Promise<pg.Client>
}

export class RestoreRoles {
  readonly #options: RestoreRolesOptions
  readonly #powerful = new Map<string, Promise<boolean>>()
  /** By owner: a login that is a member of it and of nothing else. */
  readonly #logins = new Map<string, Promise<Login>>()
  /** Those in which an action runs. */
  readonly #sessions = new Set<WireSession>()
  #reader: Promise<string> | undefined
  #path: Promise<string> | undefined

  constructor(options: RestoreRolesOptions) {
    this.#options = options
  }

  /** Tables that a try before this one left with a stand-in go back; functions stay disarmed until the end. */
  async begin(): Promise<void> {
    const admin = await this.#options.admin()
    await admin.query(ROLE_TABLES)
    const { rows } = await admin.query<{ role: string }>(
      `SELECT DISTINCT role FROM tidemark_restore.stand_in WHERE kind <> 'ROUTINE'`,
    )
    for (const { role } of rows) await giveBack(admin, role)
  }

  isPowerful(role: string): Promise<boolean> {
    let known = this.#powerful.get(role)
    if (known === undefined) {
      known = this.#ask<{ powerful: boolean }>(POWERFUL, [role]).then((row) => row?.powerful !== false)
      this.#powerful.set(role, known)
    }
    return known
  }

  /** The database's own search_path, by which functions of the source find what they name without a schema. */
  searchPath(): Promise<string> {
    const { searchPath } = this.#options
    if (searchPath !== undefined) return Promise.resolve(searchPath)
    this.#path ??= this.#ask<{ path: string }>(DATABASE_PATH, []).then(
      (row) => row?.path ?? '"$user", public',
    )
    return this.#path
  }

  /** Runs an action in a session that has the rights of the object's owner and no others. */
  async asOwner<T>(object: OwnedObject, action: (session: WireSession) => Promise<T>): Promise<T> {
    if (await this.isPowerful(object.owner))
      return await this.#standIn(object, async (login) => await this.#within(login, undefined, action))
    let login = this.#logins.get(object.owner)
    if (login === undefined) {
      login = this.#login(`IN ROLE ${quoteName(object.owner)}`)
      this.#logins.set(object.owner, login)
    }
    return await this.#within(await login, object.owner, action)
  }

  /** Runs an action, in whatever session, while the object's owner is a role without rights over the server. */
  async whileHarmless<T>(object: OwnedObject, action: () => Promise<T>): Promise<T> {
    return (await this.isPowerful(object.owner)) ? await this.#standIn(object, action) : await action()
  }

  /** For functions that run by the rights of an owner with rights over the server: somebody who may read, and no more. */
  async reader(): Promise<string> {
    return await this.#readerRole()
  }

  /** Gives an object to a role until `giveBack`. */
  async hold(object: OwnedObject, role: string): Promise<void> {
    const admin = await this.#options.admin()
    await admin.query('INSERT INTO tidemark_restore.stand_in VALUES ($1, $2, $3, $4)', [
      role,
      object.kind,
      object.oid,
      object.owner,
    ])
    await admin.query(`ALTER ${await nameOf(admin, object)} OWNER TO ${quoteName(role)}`)
  }

  /** What was made since the last time can be read too. */
  async refreshReader(): Promise<void> {
    if (this.#reader !== undefined) await this.#mayRead(await this.#reader)
  }

  /** Ends the actions that run, and what the server does for them. */
  interrupt(): void {
    for (const session of this.#sessions) session.close()
  }

  /** All objects back to their owners, and the roles of this try and of earlier ones dropped. */
  async finish(): Promise<void> {
    const admin = await this.#options.admin()
    await giveBack(admin)
    await this.close()
  }

  /** Drops the roles that hold nothing. Idempotent. */
  async close(): Promise<void> {
    const admin = await this.#options.admin()
    const { rows } = await admin.query<{ name: string }>('SELECT name FROM tidemark_restore.role')
    for (const { name } of rows) await dropRole(admin, name)
    this.#logins.clear()
    this.#reader = undefined
  }

  /** The object belongs to a role that has nothing else, for the length of the action. */
  async #standIn<T>(object: OwnedObject, action: (login: Login) => Promise<T>): Promise<T> {
    const admin = await this.#options.admin()
    const reader = await this.#readerRole()
    // Whom it stands for sees all rows: so must what it computes.
    const member = `IN ROLE ${quoteName(reader)}`
    const login = await this.#login(`BYPASSRLS ${member}`).catch(() => this.#login(member))
    const role = login.name
    await this.hold(object, role)
    try {
      return await action(login)
    } finally {
      await giveBack(admin, role)
      await dropRole(admin, role)
    }
  }

  async #within<T>(
    login: Login,
    owner: string | undefined,
    action: (session: WireSession) => Promise<T>,
  ): Promise<T> {
    const session = await WireSession.open({
      url: login.url,
      applicationName: this.#options.applicationName,
      role: 'target',
    }).catch((error: unknown) => {
      throw noLogin(error)
    })
    this.#sessions.add(session)
    try {
      // Whoever it was let in as instead: perhaps the administrator.
      const [row] = await session.query('SELECT session_user')
      if (row?.[0] !== login.name) throw noLogin(new Error('the server let in another role'))
      await session.query(
        `SET search_path = ${await this.searchPath()}; SET row_security = on; SET synchronous_commit = off${owner === undefined ? '' : `; SET ROLE ${quoteName(owner)}`}`,
      )
      return await action(session)
    } finally {
      this.#sessions.delete(session)
      session.close()
    }
  }

  async #login(options: string): Promise<Login> {
    const password = randomBytes(24).toString('hex')
    const name = await this.#create(`LOGIN PASSWORD ${quoteLiteral(scramVerifier(password))} ${options}`)
    // PUBLIC may not be let in here.
    const admin = await this.#options.admin()
    await admin.query(
      `DO $tidemark$ BEGIN EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO ${name}', pg_catalog.current_database()); END $tidemark$`,
    )
    const url = new URL(this.#options.url)
    // As parameters, which win: a URL of a local socket cannot take them before its host.
    url.searchParams.set('user', name)
    url.searchParams.set('password', password)
    for (const parameter of ['sslcert', 'sslkey']) url.searchParams.delete(parameter)
    return { name, url: url.toString() }
  }

  #readerRole(): Promise<string> {
    this.#reader ??= this.#create('NOLOGIN').then(async (role) => {
      await this.#mayRead(role)
      return role
    })
    const reader = this.#reader
    // The next step asks again.
    reader.catch(() => {
      if (this.#reader === reader) this.#reader = undefined
    })
    return reader
  }

  async #mayRead(role: string): Promise<void> {
    const admin = await this.#options.admin()
    const { rows } = await admin.query<{ name: string }>(
      `SELECT quote_ident(nspname) AS name FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'tidemark_restore')`,
    )
    const schemas = rows.map((row) => row.name).join(', ')
    if (schemas === '') return
    await admin.query(
      `GRANT USAGE ON SCHEMA ${schemas} TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA ${schemas} TO ${role}; GRANT EXECUTE ON ALL ROUTINES IN SCHEMA ${schemas} TO ${role}`,
    )
  }

  async #create(options: string): Promise<string> {
    const admin = await this.#options.admin()
    const name = `tidemark_restore_${randomBytes(6).toString('hex')}`
    // Sent together they are one transaction: a role that is made is known to be.
    const sql = `CREATE ROLE ${name} ${WITHOUT_RIGHTS} ${options}; INSERT INTO tidemark_restore.role VALUES (${quoteLiteral(name)})`
    await admin.query(sql).catch((error: unknown) => {
      throw noLogin(error)
    })
    return name
  }

  async #ask<T extends pg.QueryResultRow>(sql: string, values: unknown[]): Promise<T | undefined> {
    return (await (await this.#options.admin()).query<T>(sql, values)).rows[0]
  }
}

/** Where marks and roles of an unfinished restore are kept: its next try must know of them. */
const ROLE_TABLES = `CREATE TABLE IF NOT EXISTS tidemark_restore.role (name text PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS tidemark_restore.stand_in (role text NOT NULL, kind text NOT NULL, oid oid NOT NULL, owner text NOT NULL)`

async function nameOf(
  admin: pg.Client,
  object: { readonly kind: string; readonly oid: string },
): Promise<string> {
  const type = { ROUTINE: 'regprocedure', DOMAIN: 'regtype' }[object.kind] ?? 'regclass'
  const { rows } = await admin.query<{ name: string }>(`SELECT $1::oid::${type}::text AS name`, [object.oid])
  return `${object.kind} ${rows[0]?.name ?? ''}`
}

/** Gives back what a role holds for owners, or what all hold: before anything of its is dropped, or it would be dropped with it. */
async function giveBack(admin: pg.Client, role?: string): Promise<void> {
  const { rows } = await admin.query<{ role: string; kind: string; oid: string; owner: string }>(
    'SELECT role, kind, oid::text AS oid, owner FROM tidemark_restore.stand_in WHERE $1::text IS NULL OR role = $1',
    [role ?? null],
  )
  for (const held of rows) {
    await admin.query(`ALTER ${await nameOf(admin, held)} OWNER TO ${quoteName(held.owner)}`)
    await admin.query('DELETE FROM tidemark_restore.stand_in WHERE role = $1 AND oid = $2', [
      held.role,
      held.oid,
    ])
  }
}

/** A role that still holds something is left: the next try gives it back. */
async function dropRole(admin: pg.Client, role: string): Promise<void> {
  const held = await admin.query('SELECT FROM tidemark_restore.stand_in WHERE role = $1', [role])
  if (held.rowCount !== 0) return
  // With what code of the source may have made in its name.
  await admin.query(`DROP OWNED BY ${quoteName(role)} CASCADE`)
  await admin.query(`DROP ROLE ${quoteName(role)}`)
  await admin.query('DELETE FROM tidemark_restore.role WHERE name = $1', [role])
}

function noLogin(error: unknown): TidemarkError {
  const known = connectionError(error, 'target')
  return new TidemarkError(
    'TARGET_UNSUITABLE',
    `a step runs functions of the source, and no role without rights can log in to run it: ${known.message}`,
    {
      cause: error,
      means:
        'Functions of the source were not run by the administrator of the target, which would give them all rights.',
      next: "let roles named tidemark_restore_… log in by password from here (pg_hba.conf), or, if the source's users may do all that the administrator may: --trust-source-code",
    },
  )
}

/** As the server keeps it (RFC 5803): the password itself stands in no statement and no log. */
function scramVerifier(password: string): string {
  const iterations = 4096
  const salt = randomBytes(16)
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const key = (name: string): Buffer => createHmac('sha256', salted).update(name).digest()
  const stored = createHash('sha256').update(key('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${key('Server Key').toString('base64')}`
}
