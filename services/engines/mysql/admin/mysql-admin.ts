/** SourceAdmin for MySQL and MariaDB. Nothing of ours is in the source: its log is there anyway, and nothing is kept in it for us. */
import type mysql from 'mysql2/promise'
import type { Clock, Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { Finding } from '../../../core/finding.ts'
import type { SourceIdentity, SourceOrigin } from '../../../core/ports/source.ts'
import type {
  BegunStream,
  ExpectedSource,
  InstallationPlan,
  SourceAdmin,
  SourceDigest,
  SourceDigests,
  SourceLag,
  SourceSchema,
  SourceServer,
} from '../../../core/ports/source-admin.ts'
import { ORIGIN, positionOf } from '../../../core/position.ts'
import { readExecuted } from '../binlog/executed.ts'
import { digestTables } from '../catalog/digest.ts'
import { readSchema } from '../catalog/read-schema.ts'
import { readTables } from '../catalog/read-tables.ts'
import { beginView } from '../copy/snapshot.ts'
import { markerSql } from '../dialect/marker.ts'
import { parseGtids } from '../events/gtid.ts'
import { headOfNumber, numberAt, numberOf, viewOfNumber } from '../events/numbering.ts'
import { connect, databaseOf, type OpenSession } from '../session/connect.ts'
import { identify, refuseOther } from '../session/identity.ts'
import { MYSQL, originOf } from '../session/origin.ts'
import { logError } from '../source/log-error.ts'
import { readFacts } from '../source/read-facts.ts'
import { examine } from './examine.ts'

export interface MysqlAdminOptions {
  readonly url: string
  /** Of the generation, where there is one. */
  readonly origin: SourceOrigin | undefined
  readonly clock: Clock
  readonly randomness: Randomness
}

const LOOK_MS = 200

export class MysqlAdmin implements SourceAdmin {
  readonly #options: MysqlAdminOptions
  readonly #database: string

  constructor(options: MysqlAdminOptions) {
    this.#options = options
    this.#database = databaseOf(options.url)
  }

  identify(): Promise<SourceIdentity> {
    return this.#asked((session) => identify(session, this.#database))
  }

  async server(): Promise<SourceServer> {
    const { origin, encoding, serverVersion } = await this.identify()
    return { origin, encoding, serverVersion }
  }

  examine(): Promise<readonly Finding[]> {
    return this.#asked((session) => examine(session, this.#database))
  }

  schema(): Promise<SourceSchema> {
    return this.#asked((session) => readSchema(session, this.#database))
  }

  /** Which backup it belongs to, only the ledger says. */
  installed(): Promise<{ readonly stream: undefined }> {
    return Promise.resolve({ stream: undefined })
  }

  plan(): Promise<InstallationPlan> {
    return Promise.resolve({ mode: 'triggers', identities: [] })
  }

  install(): Promise<void> {
    return Promise.resolve()
  }

  grantTo(role: string): Promise<void> {
    throw new TidemarkError('SOURCE_PRIVILEGE', `rights of ${role} are given by an administrator`, {
      next: `GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO ${role}; GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON the database TO ${role}`,
    })
  }

  upgrade(): Promise<{ readonly from: number; readonly published: boolean }> {
    return Promise.resolve({ from: 1, published: false })
  }

  uninstall(): Promise<{ readonly stream: undefined; readonly left: readonly string[] }> {
    return Promise.resolve({ stream: undefined, left: [] })
  }

  hasStream(): Promise<boolean> {
    return Promise.resolve(false)
  }

  async begin(expected: SourceOrigin | undefined): Promise<BegunStream> {
    const { url, randomness } = this.#options
    return await this.#asked(async (session) => {
      const identity = await identify(session, this.#database)
      if (expected !== undefined) refuseOther(identity, expected)
      const executed = await readExecuted(session)
      const gtids = executed.set.toString()
      const facts = await readFacts(url, this.#database, executed, randomness)
      return {
        identity: { ...identity, engine: MYSQL, origin: { ...identity.origin, gtids } },
        consistentPoint: viewOfNumber(0n),
        resume: gtids,
        firstTransaction: '1',
        facts,
      }
    })
  }

  async prove(expected: () => Promise<ExpectedSource>): Promise<void> {
    await this.#asked(async (session) => {
      const { origin, end } = await expected()
      const { flavour, gtids } = originOf(origin)
      refuseOther(await identify(session, this.#database), origin)
      const number = numberOf(await readExecuted(session), parseGtids(flavour, gtids))
      if (number < numberAt(end))
        throw new TidemarkError(
          'SOURCE_DIVERGED',
          `the server has executed ${number} transactions since this generation began, and the backup has ${numberAt(end)}`,
        )
    })
  }

  async mark(name: string): Promise<boolean> {
    await this.#asked(({ connection }) => connection.query(markerSql(name)))
    return await this.isRead(0, new AbortController().signal)
  }

  async isRead(until: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options
    const deadline = clock.elapsed() + until
    return await this.#asked(async ({ connection }) => {
      for (;;) {
        const [rows] = await connection.query<mysql.RowDataPacket[]>(
          "SELECT 1 FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%' LIMIT 1",
        )
        if (rows.length > 0) return true
        if (clock.elapsed() >= deadline) return false
        await clock.sleep(LOOK_MS, signal)
      }
    })
  }

  async lag(): Promise<SourceLag> {
    const { origin } = this.#options
    return await this.#asked(async (session) => {
      const began = origin === undefined ? undefined : originOf(origin)
      const executed = await readExecuted(session)
      const [rows] = await session.connection.query<mysql.RowDataPacket[]>(
        'SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) AS now',
      )
      return {
        head:
          began === undefined
            ? ORIGIN
            : headOfNumber(numberOf(executed, parseGtids(began.flavour, began.gtids))),
        bytesPerSecond: 0,
        now: Number(rows[0]?.['now']),
        held: {
          name: 'binlog',
          confirmed: positionOf(0n),
          active: await this.isRead(0, new AbortController().signal),
          state: 'kept as long as the server is set to',
          isLost: false,
          safeBytes: undefined,
        },
      }
    })
  }

  async attest(signal: AbortSignal, onSnapshot?: () => Promise<void>): Promise<SourceDigests> {
    const { url, origin } = this.#options
    if (origin === undefined) throw new TidemarkError('INTERNAL', 'a source by its URL alone has no stream')
    const { flavour, gtids } = originOf(origin)
    return await this.#asked(async (session) => {
      const { tables } = await readTables(session.connection, this.#database)
      const view = await connect(url)
      try {
        const executed = await beginView(
          view,
          url,
          tables.map(({ facts }) => facts),
        )
        await onSnapshot?.()
        const at = viewOfNumber(numberOf(executed, parseGtids(flavour, gtids)))
        const digests = new Map<string, SourceDigest>()
        for (const { facts, relation } of tables) {
          signal.throwIfAborted()
          const { schema, name } = facts
          const columns = relation.columns.map((column) => column.name)
          const [digest] = await digestTables(view.connection, this.#database, [{ schema, name, columns }])
          digests.set(`${schema}.${name}`, {
            oid: relation.oid,
            schema,
            name,
            rows: String(digest!.rows),
            digest: digest!.digest,
          })
        }
        return { at, tables: digests }
      } finally {
        await view.connection.end().catch(() => undefined)
      }
    })
  }

  async #asked<T>(ask: (session: OpenSession) => Promise<T>): Promise<T> {
    const session = await connect(this.#options.url)
    try {
      return await ask(session)
    } catch (error) {
      throw logError(error)
    } finally {
      await session.connection.end().catch(() => undefined)
    }
  }
}
