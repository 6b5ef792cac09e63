/** Reads the topic of transactions to its end: where the log stands, without touching a row. */
import type Cluster from 'kafkajs/src/cluster/index.js'
import { LSN_ZERO, type Lsn, maxLsn, parseLsn } from '../../core/position.ts'
import { PartitionReader } from './partition-reader.ts'
import { decodeUnit, HEADER, type Unit, type UnitPartition } from './unit.ts'
import type { LogTail } from './unit-writer.ts'

/** The wire format's head. */
export const HEAD_BYTES = 5

export class TailReader {
  readonly #cluster: Cluster
  readonly #topic: string
  readonly #generation: number
  readonly #from: bigint
  readonly #since: number
  #reader: PartitionReader | undefined
  readonly #partitions = new Map<string, UnitPartition>()
  #complete: Lsn = LSN_ZERO
  #open: LogTail['open']
  #last: LogTail['last']

  constructor(options: {
    readonly cluster: Cluster
    readonly topic: string
    readonly generation: number
    readonly from: bigint
    readonly since: number
  }) {
    this.#cluster = options.cluster
    this.#topic = options.topic
    this.#generation = options.generation
    this.#from = options.from
    this.#since = options.since
  }

  /** Goes on from where the call before ended. */
  async read(signal: AbortSignal): Promise<LogTail> {
    this.#reader ??= new PartitionReader(this.#cluster, this.#topic, 0, this.#from, HEADER)
    for (
      let record = await this.#reader.available(signal);
      record !== undefined;
      record = await this.#reader.available(signal)
    ) {
      if (record.value === null || record.stamp === undefined) continue
      this.#apply(decodeUnit(record.value.subarray(HEAD_BYTES)), record.offset)
    }
    return { complete: this.#complete, open: this.#open, last: this.#last, partitions: this.#partitions }
  }

  #apply(unit: Unit, offset: bigint): void {
    for (const partition of unit.partitions)
      this.#partitions.set(`${partition.topic}\0${partition.partition}`, partition)
    this.#last = { term: unit.term, unit: unit.unit, offset }
    if (unit.generation !== this.#generation || unit.term < this.#since) return
    for (const entry of unit.entries) {
      if (entry.kind !== 'transaction') continue
      if (entry.end === null) this.#open = { lsn: parseLsn(entry.lsn), through: entry.first + entry.count }
      else {
        this.#open = undefined
        this.#complete = maxLsn(this.#complete, parseLsn(entry.end))
      }
    }
  }
}
