/** The Source port's Snapshot: catalog and rows of one exported snapshot, over a few connections. */
import type pg from 'pg'
import type { Clock, Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import type {
  CopyResult,
  Snapshot,
  SnapshotBlockers,
  SnapshotTable,
  TablePartRange,
} from '../../../core/ports/source.ts'
import type { Position } from '../../../core/position.ts'
import { rowNotSent } from '../../../core/row-limit.ts'
import { type RelationVersion, type Subjects, withSubjects } from '../../../core/relation.ts'
import type { SequenceSample } from '../../../core/transaction.ts'
import type { TextEncoding } from '../../../formats/change-schema.ts'
import { TupleEncoder } from './tuple-encoder.ts'
import { columnType } from '../dialect/column-type.ts'
import type { CatalogTable } from '../dialect/catalog-table.ts'
import { tableVersion } from '../dialect/schema-facts.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { readTables } from '../catalog/read-tables.ts'
import { readSequencesOnce } from './sequences.ts'
import { connect, connectionError, sqlState } from '../session/session.ts'
import { watchSilence } from '../session/silence.ts'
import { PROGRAM_LIMIT } from '../admin/slot.ts'
import { beginUnder, type ExportedSnapshot, exportSnapshot } from '../snapshot/exported-snapshot.ts'
import { type CatalogNow, catalogNow, COLUMNS_FINGERPRINT, TableMoved } from '../snapshot/pinned-table.ts'
import { copyRange, RowRefused, storedColumns } from './table-copy.ts'
import { WireSession } from '../session/wire-session.ts'

const PAGE_BYTES = 8192
const TRIES = 20

interface Extent {
  readonly filenode: string
  readonly fingerprint: string
  readonly pages: number
  readonly rows: number
  readonly bytes: number
}

export interface SnapshotOptions {
  readonly url: string
  readonly text: TextEncoding
  readonly subjects: Subjects
  readonly clock: Clock
  readonly randomness: Randomness
  /** Bytes. */
  readonly largestRow: number
  readonly only?: ReadonlySet<number>
  readonly signal: AbortSignal
  onWaiting?(blockers: SnapshotBlockers): void
}

export class SourceSnapshot implements Snapshot {
  readonly consistentPoint: Position
  readonly tables: readonly SnapshotTable[]
  readonly sequences: readonly SequenceSample[]
  readonly #options: SnapshotOptions
  readonly #exported: ExportedSnapshot
  readonly #catalog: pg.Client
  readonly #now: CatalogNow
  readonly #extents: ReadonlyMap<number, Extent>
  readonly #idle: WireSession[] = []
  readonly #all = new Set<WireSession>()

  private constructor(
    options: SnapshotOptions,
    exported: ExportedSnapshot,
    catalog: pg.Client,
    read: {
      tables: SnapshotTable[]
      sequences: readonly SequenceSample[]
      extents: ReadonlyMap<number, Extent>
    },
  ) {
    this.#options = options
    this.#exported = exported
    this.#catalog = catalog
    this.#now = catalogNow(catalog)
    this.consistentPoint = exported.consistentPoint
    this.tables = read.tables
    this.sequences = read.sequences
    this.#extents = read.extents
  }

  /** Under DDL that commits meanwhile the catalog's functions may fail on what is gone: then a newer snapshot is taken. */
  static async open(options: SnapshotOptions): Promise<SourceSnapshot> {
    for (let left = TRIES; ; left--) {
      try {
        return await SourceSnapshot.#once(options)
      } catch (error) {
        const state = error instanceof TidemarkError ? sqlState(error.cause) : undefined
        if (left <= 0 || (state !== 'XX000' && state !== '42P01' && state !== '42704')) throw error
      }
    }
  }

  static async #once(options: SnapshotOptions): Promise<SourceSnapshot> {
    const { url, clock, signal } = options
    const exported = await exportSnapshot({
      url,
      slot: `tidemark_tmp_${options.randomness.bytes(6).toString('hex')}`,
      clock,
      signal,
      ...(options.onWaiting === undefined ? {} : { onWaiting: options.onWaiting.bind(options) }),
    })
    let reader: pg.Client | undefined
    let catalog: pg.Client | undefined
    try {
      reader = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
      catalog = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
      await beginUnder(reader, exported.name)
      const read = await readTables(reader, catalog)
      const sequences = await readSequencesOnce(reader)
      const extents = await readExtents(reader)
      await reader.query('COMMIT')
      const tables: SnapshotTable[] = []
      for (const facts of read) {
        const extent = extents.get(facts.oid)
        if (
          facts.kind !== 'r' ||
          facts.persistence !== 'p' ||
          extent === undefined ||
          options.only?.has(facts.oid) === false
        )
          continue
        const version = tableVersion(facts)
        tables.push({
          version,
          facts: JSON.stringify(facts),
          shape: new TupleEncoder(relationOf(version, options.subjects), options.text).shape,
          rows: extent.rows,
          bytes: extent.bytes,
          parts: partsOf(extent),
        })
      }
      return new SourceSnapshot(options, exported, catalog, { tables, sequences, extents })
    } catch (error) {
      await catalog?.end()
      await exported.close()
      throw connectionError(error, 'source')
    } finally {
      await reader?.end()
    }
  }

  async copy(
    table: SnapshotTable,
    part: TablePartRange,
    onBlock: (bytes: Buffer, rows: number) => Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<CopyResult> {
    signal.throwIfAborted()
    const extent = this.#extents.get(table.version.oid)!
    const session = this.#idle.pop() ?? (await this.#open())
    const onAbort = (): void => session.close()
    signal.addEventListener('abort', onAbort, { once: true })
    const over = new AbortController()
    let dead: TidemarkError | undefined
    void watchSilence(
      {
        url: this.#options.url,
        clock: this.#options.clock,
        pid: session.processId,
        heard: () => session.heard,
        onDead: (error) => {
          dead = error
          session.close()
        },
      },
      over.signal,
    )
    try {
      const range = {
        snapshot: this.#exported.name,
        table: { ...table.version, filenode: extent.filenode, fingerprint: extent.fingerprint },
        from: part.from,
        to: part.to,
      }
      const encoder = new TupleEncoder(table.shape.relation, this.#options.text)
      const limits = { blockBytes: LIMITS.blockBytes, largestRow: this.#options.largestRow }
      const rows = await copyRange(session, range, this.#now, encoder, limits, onBlock)
      return { kind: 'copied', rows }
    } catch (error) {
      if (error instanceof TableMoved) return { kind: error.vanished ? 'vanished' : 'moved' }
      if (error instanceof RowRefused) return { kind: 'refused', reason: error.message }
      if (sqlState(error) === PROGRAM_LIMIT) return { kind: 'refused', reason: rowNotSent('1 GiB') }
      signal.throwIfAborted()
      throw dead ?? connectionError(error, 'source')
    } finally {
      over.abort(new DOMException('over', 'AbortError'))
      signal.removeEventListener('abort', onAbort)
      if (session.isClosed) this.#all.delete(session)
      else this.#idle.push(session)
    }
  }

  async close(): Promise<void> {
    for (const session of this.#all) session.close()
    await this.#catalog.end()
    await this.#exported.close()
  }

  async #open(): Promise<WireSession> {
    const session = await WireSession.open({
      url: this.#options.url,
      applicationName: APPLICATION_NAME,
      role: 'source',
    })
    this.#all.add(session)
    return session
  }
}

/** What the stream's Relation message says of the same table: the two make equal shapes. */
function relationOf(table: CatalogTable, subjects: Subjects): RelationVersion {
  const stored = new Set(storedColumns(table))
  const keys = new Set(table.keyColumns)
  const relation: RelationVersion = {
    oid: table.oid,
    schema: table.schema,
    name: table.name,
    identity: table.identity,
    columns: table.columns
      .filter((c) => stored.has(c.name))
      .map((c) => ({
        name: c.name,
        ...columnType(c.typeOid, c.typmod),
        key: table.identity === 'full' || keys.has(c.name),
      })),
  }
  return withSubjects(relation, subjects)
}

/** File, columns and size of every table, as the snapshot's catalog has them. */
async function readExtents(client: pg.Client): Promise<Map<number, Extent>> {
  const found = await client.query<{
    oid: number
    filenode: string
    fingerprint: string
    bytes: string
    rows: number
  }>(
    `SELECT c.oid, c.relfilenode::text AS filenode, ${COLUMNS_FINGERPRINT} AS fingerprint, COALESCE(pg_relation_size(c.oid), 0)::text AS bytes, greatest(c.reltuples, 0)::float8 AS rows FROM pg_class c WHERE c.relkind = 'r'`,
  )
  return new Map(
    found.rows.map((row) => [
      Number(row.oid),
      {
        filenode: row.filenode,
        fingerprint: row.fingerprint,
        pages: Math.ceil(Number(row.bytes) / PAGE_BYTES),
        rows: row.rows,
        bytes: Number(row.bytes),
      },
    ]),
  )
}

/** Ranges of about one part object each; the last one is open, so that no page is left out. */
function partsOf(extent: Extent): TablePartRange[] {
  const pages = Math.ceil(LIMITS.basePartBytes / PAGE_BYTES)
  const parts: TablePartRange[] = []
  for (let from = 0; from === 0 || from < extent.pages; from += pages)
    parts.push({ from, to: from + pages < extent.pages ? from + pages : undefined })
  return parts
}
