/** Source port for PostgreSQL 14-18: wiring only. */
import type pg from 'pg'
import type { Clock, Randomness } from '../../../core/clock.ts'
import { isErrorCode } from '../../../core/error-codes.ts'
import { TidemarkError } from '../../../core/errors.ts'
import {
  comparePositions,
  endOfRecords,
  laterPosition,
  ORIGIN,
  parsePosition,
  type Position,
} from '../../../core/position.ts'
import type {
  CatalogRepair,
  IdentityCare,
  LeftOutTable,
  HeldLog,
  SourceMoment,
  Snapshot,
  SnapshotBlockers,
  Source,
  SourceIdentity,
  SourceOrigin,
  StoredHistory,
  StreamPoint,
} from '../../../core/ports/source.ts'
import { NO_SUBJECTS, type Subjects } from '../../../core/relation.ts'
import type { LogItem, SchemaChange, SchemaFacts, SequenceReading } from '../../../core/transaction.ts'
import type { TextEncoding } from '../../../formats/change-schema.ts'
import { publicationState } from '../admin/examine-publication.ts'
import { HistoryProof } from './history-proof.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { examine } from '../admin/preflight.ts'
import { streamOf, type StreamNames } from '../session/origin.ts'
import { SchemaReadings } from '../catalog/schema-reader.ts'
import { SequenceReader } from './sequences.ts'
import { connect, connectionError } from '../session/session.ts'
import type { ExpectedSource } from '../../../core/ports/source-admin.ts'
import { identifySource, proveSameSource } from '../admin/same-source.ts'
import { readSlot, type SlotState, slotTaken } from '../admin/slot.ts'
import { SourceQuestions } from './source-questions.ts'
import { SourceSnapshot } from './source-snapshot.ts'
import { IdentityKeeper, keepFull, readLeftOut } from '../admin/tend-identities.ts'
import { timelineOf } from '../admin/timeline.ts'
import { requireInstallation } from '../admin/upgrade.ts'
import { WalStream } from './wal-stream.ts'

export interface PostgresSourceOptions {
  readonly url: string
  /** Of its stream. */
  readonly names: SourceOrigin
  readonly subjects?: Subjects
  /** Tables, as schema.table, whose FULL stays when a key comes: topics are partitioned by what the key may lack. */
  readonly keepFull?: readonly string[]
  readonly clock: Clock
  readonly randomness: Randomness
  /** Bytes: larger rows are gaps of their tables. */
  readonly largestRow: number
  /** A whole reading of the schema differed from what the changes had made of it, in so many statements. */
  readonly onSchemaDifference?: (statements: number) => void
  /** What the ledger holds of the transactions that commit from `from` on. */
  readonly stored?: (from: Position) => Promise<StoredHistory>
}

export class PostgresSource implements Source {
  readonly #options: PostgresSourceOptions & StreamNames
  readonly #expected: ExpectedSource
  readonly #sequences = new SequenceReader()
  readonly #identities: IdentityKeeper
  readonly #readings: SchemaReadings
  readonly #questions: SourceQuestions
  #stream: WalStream | undefined
  #acknowledged: Position = ORIGIN
  #horizon: { readonly xid: string; readonly at: Position; readonly newest: string } | undefined
  /** The newest DDL record below the last horizon: a long transaction may hold it back for a while. */
  #forgotten: string | undefined

  constructor(options: PostgresSourceOptions, expected: ExpectedSource) {
    this.#options = { ...options, ...streamOf(options.names) }
    this.#expected = expected
    this.#identities = new IdentityKeeper(options.clock)
    this.#questions = new SourceQuestions(options)
    const { url, clock, onSchemaDifference } = options
    this.#readings = new SchemaReadings({
      connect: () => connect({ url, applicationName: APPLICATION_NAME, role: 'source' }),
      clock,
      ...(onSchemaDifference === undefined ? {} : { onDifference: onSchemaDifference }),
    })
  }

  identify(): Promise<SourceIdentity> {
    return identifySource(this.#options.url)
  }

  held(): Promise<HeldLog | undefined> {
    return this.#slot()
  }

  #slot(): Promise<SlotState | undefined> {
    return this.#questions.ask((client) => readSlot(client, this.#options.slot))
  }

  /** Whoever else reads the slot. */
  async taken(): Promise<TidemarkError | undefined> {
    const slot = await this.#slot()
    return slot?.active === true ? slotTaken(slot) : undefined
  }

  async *stream({ position: from }: StreamPoint, signal: AbortSignal): AsyncIterable<LogItem> {
    const identity = await this.check(from)
    const stream = new WalStream({
      url: this.#options.url,
      slot: this.#options.slot,
      publication: this.#options.publication,
      text: textEncoding(identity.encoding),
      subjects: this.#options.subjects,
      timelineOf: (lsn) => timelineOf(identity.timelines, lsn),
      applicationName: APPLICATION_NAME,
      clock: this.#options.clock,
      randomness: this.#options.randomness,
      largestRow: this.#options.largestRow,
      proof: await this.#proof(),
      slotState: () => this.#slot(),
    })
    this.#stream = stream
    // Where reading begins is not what is durable: a log may be ahead of the store.
    stream.acknowledge(this.#acknowledged)
    yield* stream.run(from, signal)
  }

  /** Everything that must hold before a byte is read: the same database, no fork, the slot not ahead, nothing filtered. */
  async check(from: Position): ReturnType<typeof identifySource> {
    const identity = await identifySource(this.#options.url)
    const slot = await this.#slot()
    proveSameSource({ identity, slot, head: await this.head() }, this.#options.slot, this.#expected, from)
    const refused = (
      await this.#questions.ask((client) =>
        examine(client, { publication: this.#options.publication, slot: this.#options.slot }),
      )
    ).filter((f) => f.level === 'refuse' && f.isOfStream !== true)
    const first = refused[0]
    if (first === undefined)
      await this.#questions.ask((client) => keepFull(client, this.#options.keepFull ?? []))
    else {
      throw new TidemarkError(isErrorCode(first.code) ? first.code : 'SOURCE_UNSUITABLE', first.what, {
        next: first.fix,
      })
    }
    return identity
  }

  /** What comes again from the slot has to be what is stored. */
  async #proof(): Promise<HistoryProof | undefined> {
    const slot = await this.#slot()
    const stored = slot === undefined ? undefined : await this.#options.stored?.(slot.confirmed)
    return slot === undefined || stored === undefined ? undefined : new HistoryProof(stored, slot.confirmed)
  }

  acknowledge(end: Position): void {
    this.#acknowledged = laterPosition(this.#acknowledged, end)
    this.#stream?.acknowledge(end)
  }

  wantHeartbeat(): void {
    this.#stream?.wantHeartbeat()
  }

  head(): Promise<Position> {
    return this.#questions.ask(async (client) =>
      parsePosition(
        (await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')).rows[0]?.lsn ?? '',
      ),
    )
  }

  /** The clock first: between the two is what was stamped later, never what was stamped before. */
  moment(): Promise<SourceMoment> {
    return this.#questions.ask(async (client) => {
      const { rows } = await client.query<{ time: string; at: string }>(
        'SELECT c.time::text, pg_current_wal_insert_lsn()::text AS at FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS time OFFSET 0) c',
      )
      const [row] = rows
      if (row === undefined) throw new TidemarkError('PROTOCOL', 'the source did not say its time')
      return { at: endOfRecords(parsePosition(row.at)), time: BigInt(row.time) }
    })
  }

  async snapshot(options: {
    readonly only?: ReadonlySet<number>
    readonly signal: AbortSignal
    onWaiting?(blockers: SnapshotBlockers): void
  }): Promise<Snapshot> {
    const { encoding } = await this.identify()
    return SourceSnapshot.open({
      ...options,
      url: this.#options.url,
      text: textEncoding(encoding),
      subjects: this.#options.subjects ?? NO_SUBJECTS,
      clock: this.#options.clock,
      randomness: this.#options.randomness,
      largestRow: this.#options.largestRow,
    })
  }

  async schema(stored?: { readonly snapshot: string; readonly head: string }): Promise<SchemaFacts> {
    try {
      return await this.#readings.whole(stored)
    } catch (error) {
      throw connectionError(error, 'source')
    }
  }

  async currentSchema(): Promise<SchemaFacts> {
    try {
      return await this.#readings.now()
    } catch (error) {
      throw connectionError(error, 'source')
    }
  }

  async schemaSince(reading: string): Promise<SchemaChange | undefined> {
    try {
      return await this.#readings.since(reading)
    } catch (error) {
      throw connectionError(error, 'source')
    }
  }

  isReadingOld(): Promise<boolean> {
    return this.#questions.ask((client) => this.#readings.isOld(client))
  }

  sequences(): Promise<readonly SequenceReading[]> {
    return this.#questions.ask((client) => this.#sequences.read(client))
  }

  repairCatalog(): Promise<CatalogRepair> {
    return this.#questions.ask(async (client) => {
      const row = (
        await client.query<{ recorded: string | null; failed: string[] }>(
          'SELECT recorded, failed FROM tidemark.repair()',
        )
      ).rows[0]
      if (row === undefined) throw new TidemarkError('PROTOCOL', 'tidemark.repair() gave no answer')
      return { recorded: row.recorded ?? undefined, failed: row.failed }
    })
  }

  tendIdentities(): Promise<IdentityCare> {
    return this.#questions.ask(async (client) =>
      (await this.#isPublished(client)) ? this.#identities.tend(client) : { recorded: [], changes: [] },
    )
  }

  leftOut(): Promise<readonly LeftOutTable[]> {
    return this.#questions.ask(async (client) => {
      const tables = await readLeftOut(client)
      // Without a publication all of them are, and the stream itself says so.
      return (await this.#isPublished(client)) ? tables : []
    })
  }

  /**
   * False where somebody dropped the publication. Where it went and came the stream tells exactly, as soon as something is
   * decoded that was written without it: so something is written.
   *
   * @throws TidemarkError INSTALLATION_MISSING, PUBLICATION_UNSAFE
   */
  async #isPublished(client: pg.Client): Promise<boolean> {
    await requireInstallation(client)
    const { state, what } = await publicationState(client, this.#options.publication)
    if (state === 'unsafe') throw new TidemarkError('PUBLICATION_UNSAFE', what)
    if (state === 'missing') await client.query('SELECT tidemark.touch()')
    return state === 'whole'
  }

  /**
   * Ids are given out in another order than transactions commit in: a horizon is taken (every transaction below it has
   * ended by then, and the reading shows it), and what lies below it is removed once the backup is durable beyond the place
   * where it was taken.
   */
  async forgetDdl(durable: Position, reading: string): Promise<void> {
    const horizon = this.#horizon
    if (horizon === undefined) {
      this.#horizon = await this.#questions.ask(async (client) => {
        const row = (
          await client.query<{ xid: string; lsn: string; newest: string }>(
            `SELECT h.xid::text, pg_current_wal_insert_lsn()::text AS lsn, (SELECT COALESCE(max(id), 0)::text FROM tidemark.ddl d WHERE d.xid::xid8 < h.xid) AS newest
               FROM (SELECT least(pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmin($1::pg_snapshot)) AS xid) h`,
            [reading],
          )
        ).rows[0]
        return row === undefined || row.newest === this.#forgotten
          ? undefined
          : { xid: row.xid, at: parsePosition(row.lsn), newest: row.newest }
      })
      return
    }
    if (comparePositions(durable, horizon.at) < 0) return
    await this.#questions.ask((client) => client.query('SELECT tidemark.forget($1)', [horizon.xid]))
    this.#forgotten = horizon.newest
    this.#horizon = undefined
  }

  async close(): Promise<void> {
    await Promise.all([this.#questions.close(), this.#readings.close()])
  }
}

function textEncoding(encoding: string): TextEncoding {
  return encoding === 'SQL_ASCII' ? 'bytes' : 'utf8'
}
