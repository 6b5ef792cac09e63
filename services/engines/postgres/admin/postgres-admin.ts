/** SourceAdmin for PostgreSQL: each call over a connection of its own. */
import type pg from 'pg'
import type { Clock, Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { Finding } from '../../../core/finding.ts'
import { parsePosition, type Position } from '../../../core/position.ts'
import type { SourceIdentity, SourceOrigin, StoredHistory } from '../../../core/ports/source.ts'
import type {
  BegunStream,
  ExpectedSource,
  SourceAdmin,
  SourceDigests,
  SourceLag,
  SourceSchema,
  SourceServer,
} from '../../../core/ports/source-admin.ts'
import type { ReadSchema } from '../catalog/read-schema.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { connect, connectionError } from '../session/session.ts'
import { publicationState, requirePublication } from './examine-publication.ts'
import {
  createSlot,
  dropSlot,
  grantTo,
  install,
  installAgain,
  type InstallationPlan,
  planAgain,
  planInstallation,
  publishAgain,
  readInstallation,
  readMode,
  uninstall,
  uninstallRest,
} from './install.ts'
import { examinePartitioning } from './partition-identity.ts'
import { examine } from './preflight.ts'
import { askSameSource, identifySource, refuseOther } from './same-source.ts'
import { readSlot, type SlotState } from './slot.ts'
import { type DatabaseId, databaseOf, namesOf, type StreamNames } from '../session/origin.ts'
import { digestSource } from './source-digest.ts'
import type { Timelines } from './timeline.ts'
import { installedVersion, requireInstallation, upgradeInstallation } from './upgrade.ts'

/** Between the two looks that tell how fast the source writes. */
const RATE_SAMPLE_MS = 500
const LOOK_MS = 200

export interface AdminOptions {
  readonly url: string
  /** Of the backup; without them only what concerns any source can be asked. */
  readonly names?: SourceOrigin | undefined
  readonly clock: Clock
  readonly randomness: Randomness
  /** Reads what the slot sends once more: with the stream's own means, which stand above this room. */
  readonly look: (look: {
    readonly url: string
    readonly publication: string
    readonly slot: SlotState
    readonly timelines: Timelines
    readonly stored: StoredHistory
    readonly clock: Clock
  }) => Promise<void>
}

export class PostgresAdmin implements SourceAdmin {
  readonly #options: AdminOptions

  constructor(options: AdminOptions) {
    this.#options = options
  }

  identify(): Promise<SourceIdentity> {
    return identifySource(this.#options.url)
  }

  server(): Promise<SourceServer> {
    return this.#asked(serverOf)
  }

  examine(partitionBy: ReadonlyMap<string, readonly string[]> = new Map()): Promise<readonly Finding[]> {
    return this.#asked(async (client) => [
      ...(await examine(client, namesOf(this.#options.names))),
      ...(await examinePartitioning(client, partitionBy)),
    ])
  }

  schema(): Promise<SourceSchema | undefined> {
    return this.#asked(async (client) => {
      const { rows } = await client.query<{ is: boolean }>(
        `SELECT to_regnamespace('tidemark') IS NOT NULL AS is`,
      )
      if (rows[0]?.is !== true) return undefined
      const { statements, notes } = await readSchema(client)
      return { statements, notes }
    })
  }

  installed(): Promise<{ readonly stream: string | undefined } | undefined> {
    return this.#asked(async (client) =>
      (await installedVersion(client)) === undefined
        ? undefined
        : { stream: (await readInstallation(client))?.stream },
    )
  }

  plan(stream: string, again: boolean): Promise<InstallationPlan> {
    const installation = { stream, ...this.#names }
    return this.#asked((client) => (again ? planAgain : planInstallation)(client, installation))
  }

  install(stream: string, plan: InstallationPlan, again: boolean): Promise<void> {
    const installation = { stream, ...this.#names }
    const { clock } = this.#options
    return this.#asked((client) => (again ? installAgain : install)(client, installation, plan, clock))
  }

  grantTo(role: string): Promise<void> {
    return this.#asked((client) => grantTo(client, role))
  }

  upgrade(): Promise<{ readonly from: number; readonly published: boolean }> {
    return this.#asked(async (client) => {
      const from = await upgradeInstallation(client)
      const found = await readMode(client)
      if (found === undefined)
        throw new TidemarkError('SOURCE_UNSUITABLE', 'the installation in this database is not complete', {
          next: 'tidemark uninstall, and init again',
        })
      const { state } = await publicationState(client, found.publication)
      if (state !== 'whole') await publishAgain(client, found)
      return { from, published: state !== 'whole' }
    })
  }

  uninstall(): Promise<{ readonly stream: string | undefined; readonly left: readonly string[] }> {
    const { clock } = this.#options
    const names = namesOf(this.#options.names)
    return this.#asked(async (client) => {
      const installation = await readInstallation(client)
      if (installation !== undefined)
        return { stream: installation.stream, left: await uninstall(client, installation, clock) }
      return { stream: undefined, left: names === undefined ? [] : await uninstallRest(client, names) }
    })
  }

  hasStream(): Promise<boolean> {
    return this.#asked(async (client) => (await readSlot(client, this.#names.slot)) !== undefined)
  }

  async begin(expected: SourceOrigin | undefined): Promise<BegunStream> {
    const { url } = this.#options
    const { slot, publication } = this.#names
    const identity = await identifySource(url)
    if (expected !== undefined) refuseOther(identity, databaseOf(expected))
    const client = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
    try {
      // Before anything is made: a stream without these would have holes that nobody sees.
      await requireInstallation(client)
      await requirePublication(client, publication)
      await dropSlot(client, slot)
      // All tables are read anew: what somebody did to the publication before is past. Not earlier: as long as the slot is there,
      // the generation before may go on, and has to find it.
      await client.query('SELECT tidemark.note_publication()')
      const consistentPoint = await createSlot(url, slot, identity.serverVersion)
      const behind = await readBehindSlot(client).catch(async (error: unknown) => {
        // No generation names it yet: left behind, it would hold the source's WAL for ever.
        await dropSlot(client, slot).catch(() => undefined)
        throw error
      })
      const origin = { ...identity.origin, slot, publication }
      return { identity: { ...identity, origin }, consistentPoint, ...behind }
    } finally {
      await client.end()
    }
  }

  async prove(
    expected: () => Promise<ExpectedSource>,
    storedFrom?: (from: Position) => Promise<StoredHistory>,
  ): Promise<void> {
    const { url, clock, look } = this.#options
    const { publication } = this.#names
    const { slot, timelines } = await askSameSource(url, this.#names.slot, expected)
    if (storedFrom === undefined || slot === undefined) return
    const stored = await storedFrom(slot.confirmed)
    await look({ url, publication, slot, timelines, stored, clock })
  }

  mark(name: string): Promise<boolean> {
    return this.#asked(async (client) => {
      await client.query('INSERT INTO tidemark.marker (name) VALUES ($1)', [name])
      return this.#isRead(client)
    })
  }

  isRead(until: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options
    const end = clock.elapsed() + until
    return this.#asked(async (client) => {
      do {
        if (await this.#isRead(client)) return true
        await clock.sleep(LOOK_MS, signal)
      } while (clock.elapsed() < end)
      return false
    })
  }

  lag(): Promise<SourceLag> {
    const { clock } = this.#options
    const { slot } = this.#names
    return this.#asked(async (client) => {
      const first = await headOf(client)
      const startedAt = clock.elapsed()
      await clock.sleep(RATE_SAMPLE_MS)
      const head = await headOf(client)
      const seconds = (clock.elapsed() - startedAt) / 1000
      const held = await readSlot(client, slot)
      const { rows } = await client.query<{ now: string }>(
        `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::text AS now`,
      )
      return {
        head,
        bytesPerSecond: Math.round(Number(head - first) / seconds),
        now: Number(rows[0]?.now),
        held,
      }
    })
  }

  attest(signal: AbortSignal, onSnapshot?: () => Promise<void>): Promise<SourceDigests> {
    const { url, clock, randomness } = this.#options
    return digestSource({
      url,
      clock,
      randomness,
      signal,
      ...(onSnapshot === undefined ? {} : { onSnapshot }),
    })
  }

  get #names(): StreamNames {
    const names = namesOf(this.#options.names)
    if (names === undefined) throw new Error('a source by its URL alone has no stream')
    return names
  }

  async #isRead(client: pg.Client): Promise<boolean> {
    return (await readSlot(client, this.#names.slot))?.active === true
  }

  async #asked<T>(ask: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await connect({
      url: this.#options.url,
      applicationName: APPLICATION_NAME,
      role: 'source',
    })
    try {
      return await ask(client)
    } catch (error) {
      throw connectionError(error, 'source')
    } finally {
      await client.end()
    }
  }
}

async function readBehindSlot(client: pg.Client): Promise<Pick<BegunStream, 'firstTransaction' | 'facts'>> {
  const { rows } = await client.query<{ x: string }>(
    'SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS x',
  )
  return { firstTransaction: rows[0]?.x ?? '0', facts: await readSchema(client) }
}

/** Its reader is loaded when it is wanted: what asks for the lag does without. */
async function readSchema(client: pg.Client): Promise<ReadSchema> {
  const { readWholeSchema } = await import('../catalog/schema-reader.ts')
  return readWholeSchema(client)
}

async function headOf(client: pg.Client): Promise<Position> {
  const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
  return parsePosition(rows[0]?.lsn ?? '')
}

async function serverOf(client: pg.Client): Promise<SourceServer> {
  const { rows } = await client.query<DatabaseId & Pick<SourceServer, 'encoding' | 'serverVersion'>>(
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS "systemId", d.oid::int8::float8 AS "databaseOid", pg_encoding_to_char(d.encoding) AS encoding, current_setting('server_version_num')::int AS "serverVersion"
       FROM pg_database d WHERE d.datname = current_database()`,
  )
  if (rows[0] === undefined) throw new TidemarkError('PROTOCOL', 'the server does not know its own database')
  const { systemId, databaseOid, encoding, serverVersion } = rows[0]
  return { origin: { systemId, databaseOid }, encoding, serverVersion }
}
