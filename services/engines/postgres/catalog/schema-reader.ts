/** Readings of a source's schema: whole ones, and changes since the last one. One at a time. */
import type pg from 'pg'
import type { Clock } from '../../../core/clock.ts'
import type { SchemaChange } from '../../../core/transaction.ts'
import { schemaChange, statementsDigest } from '../../../formats/schema-change.ts'
import { catalogDigest } from './catalog-digest.ts'
import { type Look, Looks } from './looks.ts'
import { openCatalog, type ReadSchema, SchemaReader } from './read-schema.ts'
import { changedKeys } from './versions.ts'

/** A whole reading, of which nothing is kept. */
export function readWholeSchema(client: pg.Client): Promise<ReadSchema> {
  return new SchemaReader().read(client)
}

/** A whole reading is due after this. */
const WHOLE_MS = 24 * 3600 * 1000
/** And where the changes since the last one are more than this many. */
const MOST_CHANGES = 256
/**
 * Readings come in groups: of a base and the stream, of the commands of a migration. What the server has learned of its
 * catalog by the first one, half of what a small one costs, serves those behind it.
 */
const KEPT_MS = 10_000

export interface SchemaReadingsOptions {
  connect(): Promise<pg.Client>
  readonly clock: Clock
  /** What a whole reading showed to be other than the changes had made of it: how many statements. */
  onDifference?(statements: number): void
}

export class SchemaReadings {
  readonly #options: SchemaReadingsOptions
  #reader: SchemaReader | undefined
  readonly #looks = new Looks()
  #last: ReadSchema | undefined
  #wholeAt = 0
  #changes = 0
  #reading = 0
  #before: Promise<unknown> = Promise.resolve()
  #kept: KeptConnection | undefined
  #isClosed = false

  constructor(options: SchemaReadingsOptions) {
    this.#options = options
  }

  /** @param stored the ledger's newest reading, for the first one of a process */
  whole(stored?: Look): Promise<ReadSchema> {
    return this.#alone(async (client) => {
      const fresh = new SchemaReader(this.#looks)
      // What the changes make of it, to be compared with it.
      const known = await this.#reader?.read(client)
      const fully = await fresh.read(client, known === undefined ? { stored } : {})
      if (known !== undefined) this.#compare(known, fully, this.#reader!, fresh)
      // Only who knows what was before sees what no record tells.
      const read = known?.untold === undefined ? fully : { ...fully, untold: known.untold }
      this.#reader = fresh
      this.#last = read
      this.#wholeAt = this.#options.clock.elapsed()
      this.#changes = 0
      return read
    })
  }

  /**
   * The schema as it is now, from what the last reading knows and what changed since; a whole reading where there was none.
   * `since` goes on from the reading before it, and tells what this one told: this one may never be stored.
   */
  now(): Promise<ReadSchema> {
    return this.#alone((client, trustsDigest) =>
      (this.#reader?.copy() ?? new SchemaReader()).read(client, { trustsDigest }),
    )
  }

  /** Undefined where the last reading was another one, and where a whole one is due. */
  since(reading: string): Promise<SchemaChange | undefined> {
    return this.#alone(async (client, trustsDigest) => {
      const last = this.#last
      if (this.#reader === undefined || last?.reading !== reading) return undefined
      const isDue = this.#options.clock.elapsed() - this.#wholeAt >= WHOLE_MS || this.#changes >= MOST_CHANGES
      if (isDue) return undefined
      // What disturbs this one is DDL, and brings the next.
      const read = await this.#reader.read(client, { rounds: 1, trustsDigest })
      this.#last = read
      this.#changes++
      return schemaChange(last, read)
    })
  }

  /** Whether the catalog is another one than the last reading saw. False while one is being made, and before the first. */
  async isOld(client: pg.Client): Promise<boolean> {
    const reader = this.#reader
    if (reader?.digest === undefined || this.#reading > 0) return false
    const [at] = (await client.query<{ head: string }>('SELECT pg_current_wal_insert_lsn()::text AS head'))
      .rows
    const [seen] = (
      await client.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot')
    ).rows
    const digest = await catalogDigest(await openCatalog(client))
    if (this.#reading > 0 || this.#reader !== reader || at === undefined || seen === undefined) return false
    if (digest !== reader.digest) return true
    reader.agreedAt({ ...at, ...seen })
    return false
  }

  #compare(known: ReadSchema, read: ReadSchema, before: SchemaReader, fresh: SchemaReader): void {
    const disturbed =
      changedKeys(before.versions ?? new Map(), fresh.versions ?? new Map()).size > 0 ||
      (known.unsettled ?? []).length + (read.unsettled ?? []).length > 0
    if (disturbed || statementsDigest(known.statements) === statementsDigest(read.statements)) return
    const texts = new Set(known.statements.map((one) => one.sql))
    const others = read.statements.filter((one) => !texts.has(one.sql)).length
    this.#options.onDifference?.(Math.max(1, others, read.statements.length - known.statements.length))
  }

  /** Idle or not, the connection is gone behind this. */
  async close(): Promise<void> {
    this.#isClosed = true
    const kept = this.#kept
    this.#kept = undefined
    await kept?.end()
  }

  /**
   * A connection of its own, so that nothing waits behind a reading.
   *
   * @param action its second argument: whether a reading has just been made over this connection
   */
  async #alone<T>(action: (client: pg.Client, isBehindAnother: boolean) => Promise<T>): Promise<T> {
    const before = this.#before
    const over = Promise.withResolvers<void>()
    this.#before = over.promise
    this.#reading++
    await before
    try {
      const found = this.#take()
      const kept = found ?? new KeptConnection(await this.#options.connect())
      try {
        const done = await action(kept.client, found !== undefined)
        if (this.#isClosed) await kept.end()
        else this.#keep(kept)
        return done
      } catch (error) {
        await kept.end()
        throw error
      }
    } finally {
      this.#reading--
      over.resolve()
    }
  }

  #take(): KeptConnection | undefined {
    const kept = this.#kept
    this.#kept = undefined
    kept?.use()
    return kept?.isOpen === true ? kept : undefined
  }

  #keep(kept: KeptConnection): void {
    this.#kept = kept
    kept.rest(() => {
      if (this.#kept === kept) this.#kept = undefined
    })
  }
}

class KeptConnection {
  readonly client: pg.Client
  #isOpen = true
  #timer: NodeJS.Timeout | undefined

  constructor(client: pg.Client) {
    this.client = client
    client.once('end', () => (this.#isOpen = false))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  use(): void {
    clearTimeout(this.#timer)
  }

  rest(onEnd: () => void): void {
    this.#timer = setTimeout(() => {
      onEnd()
      void this.end()
    }, KEPT_MS)
    this.#timer.unref()
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer)
    await this.client.end().catch(() => undefined)
  }
}
