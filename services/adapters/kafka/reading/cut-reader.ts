/** Reads the transactions of ordered cuts, one range after the other; goes back to an earlier place where it has to. */
import type { RecordWords } from '../../../core/ports/dialect.ts'
import type { TransactionPart } from '../../../core/transaction.ts'
import type { KafkaFetcher } from '../client/client.ts'
import { openClient } from '../client/connection.ts'
import { kafkaError } from '../client/errors.ts'
import type { KafkaSettings } from '../client/settings.ts'
import { Registry, type RegistrySettings } from '../registry/registry.ts'
import { transactionsTopic } from '../records/topic-name.ts'
import { UnitReader, type UnitRange } from './unit-reader.ts'

export interface CutReaderOptions {
  readonly settings: KafkaSettings
  readonly registry: RegistrySettings
  readonly prefix: string
  readonly acknowledge: 'segment' | 'log'
  readonly generation: number
  readonly stream: string
  readonly records: Pick<RecordWords, 'holds'>
  /** Where units begin to have the stream's id, as the ledger says now. */
  readonly idsFrom: () => bigint | undefined
}

/** Where reading starts to have everything that is needed, and what is wanted. */
export type LoggedCut = UnitRange & { readonly from: bigint; readonly since: number }

export class CutReader {
  readonly #options: CutReaderOptions
  readonly #fetcher: KafkaFetcher
  readonly #registry: Registry
  #reader: UnitReader | undefined
  #since = 0

  private constructor(options: CutReaderOptions) {
    this.#options = options
    this.#fetcher = openClient(options.settings).fetcher()
    this.#registry = new Registry(options.registry)
  }

  /** @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  static async open(options: CutReaderOptions): Promise<CutReader> {
    const reader = new CutReader(options)
    try {
      await reader.#fetcher.connect()
      return reader
    } catch (error) {
      await reader.close()
      throw kafkaError(error, 'the change log')
    }
  }

  /** One range at a time. @throws TidemarkError LOG_HOLE where records are missing */
  async *parts(cut: LoggedCut, signal: AbortSignal): AsyncIterable<TransactionPart> {
    const { prefix, acknowledge, generation, stream, records, idsFrom } = this.#options
    // One that stood still is not led through what lies between: it may be stored, and gone.
    const isBehind = this.#reader !== undefined && this.#reader.done < cut.from
    if (this.#reader?.reaches(cut.first) !== true || isBehind || this.#since !== cut.since) {
      this.#since = cut.since
      this.#reader = new UnitReader({
        fetcher: this.#fetcher,
        registry: this.#registry,
        topic: transactionsTopic(prefix),
        acknowledge,
        generation,
        stream,
        after: cut.after,
        place: { log: '', from: cut.from, at: cut.first, since: cut.since, unit: '', idsFrom: idsFrom() },
        isPart: true,
        records,
        clock: this.#options.settings.clock,
      })
    }
    const reader = this.#reader
    // Whoever leaves half way leaves a reader that cannot go on.
    this.#reader = undefined
    yield* reader.range(cut, signal)
    this.#reader = reader
  }

  async close(): Promise<void> {
    await this.#fetcher.disconnect().catch(() => undefined)
  }
}
