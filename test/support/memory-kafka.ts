/**
 * A broker in memory, behind the few calls of the client that the change log makes: transactions with markers, fencing, aborted
 * records, the last stable offset. It can be set back, shortened, trimmed and emptied, and lose answers.
 */
import kafkajs from 'kafkajs'
import type { FetchedPartition, KafkaMessage } from '../../services/adapters/kafka/client/client.ts'

interface Stored {
  readonly offset: bigint
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer>>
  readonly producer: number
  readonly isControl: boolean
}

interface Partition {
  low: bigint
  high: bigint
  records: Stored[]
  aborted: { readonly producer: number; readonly first: bigint; readonly last: bigint }[]
}

interface Writer {
  readonly id: number
  epoch: number
  /** First offsets of its open transaction, by topic and partition; undefined where none is open. */
  open: Map<string, bigint> | undefined
}

interface Disk {
  clusterId: string
  topics: Map<string, Partition[]>
  writers: Map<string, Writer>
}

/** A client's way to the broker: each step on it may take long, and fails where the client is gone. */
export interface Way {
  turn(): Promise<void>
}

/** What becomes of a request: `lost` on the way there, or its answer on the way back; `late` is lost, and lands after a while. */
export type Answer = 'good' | 'lost' | 'unanswered' | 'late'

/** Requests until a late one lands, and until the broker gives up the transaction of a client that is gone. */
const LATE_TURNS = 4
const GONE_TURNS = 40

const MARKER = { abort: Buffer.from([0, 0, 0, 0]), commit: Buffer.from([0, 0, 0, 1]) }

export class MemoryKafka {
  #disk: Disk = { clusterId: 'memory-0', topics: new Map(), writers: new Map() }
  #clusters = 0
  #writers = 0
  readonly #later: { turns: number; readonly act: () => void }[] = []
  /** Asked for each request that writes. */
  answer: () => Answer = () => 'good'
  /** An operator's setting under which every record of these topics is refused, by Kafka's name for it. */
  refusal: string | undefined
  isDown = false

  /** What a request does to the broker, and what its client hears. */
  async request<T>(link: Way, isWrite: boolean, act: () => T): Promise<T> {
    await link.turn()
    for (const one of [...this.#later])
      if (--one.turns <= 0) {
        this.#later.splice(this.#later.indexOf(one), 1)
        one.act()
      }
    if (this.isDown) throw away()
    const answer = isWrite ? this.answer() : 'good'
    if (answer === 'late') this.#after(LATE_TURNS, () => attempt(act))
    if (answer === 'lost' || answer === 'late') throw away()
    const result = act()
    await link.turn()
    if (answer === 'unanswered') throw away()
    return result
  }

  #after(turns: number, act: () => void): void {
    this.#later.push({ turns, act })
  }

  // What operators and disks do.

  copy(): Disk {
    return structuredClone(this.#disk)
  }

  /** What was under way to it is lost with the connections. */
  setBack(to: Disk): void {
    this.#later.length = 0
    this.#disk = structuredClone(to)
    for (const of of this.#disk.topics.values())
      for (const one of of) one.records = one.records.map((record) => ({ ...record, ...buffers(record) }))
    // Whoever had a transaction open then may be gone for good: the broker gives it up.
    for (const writer of this.#disk.writers.values()) {
      const { open } = writer
      this.#after(GONE_TURNS, () => {
        if (open === undefined || writer.open !== open) return
        this.#close(writer, 'abort')
        writer.epoch++
      })
    }
  }

  /** As a cluster that was set up anew. */
  empty(): void {
    this.#later.length = 0
    this.#disk = { clusterId: `memory-${++this.#clusters}`, topics: new Map(), writers: new Map() }
  }

  topics(): readonly string[] {
    return [...this.#disk.topics.keys()]
  }

  partitions(topic: string): number {
    return this.#disk.topics.get(topic)?.length ?? 0
  }

  ends(topic: string, partition: number): { readonly low: bigint; readonly high: bigint } {
    const found = this.#disk.topics.get(topic)?.[partition]
    return { low: found?.low ?? 0n, high: found?.high ?? 0n }
  }

  shorten(topic: string, partition: number, from: bigint): void {
    const found = this.#disk.topics.get(topic)?.[partition]
    if (found === undefined || from >= found.high) return
    found.high = from > found.low ? from : found.low
    found.records = found.records.filter(({ offset }) => offset < found.high)
    // With its marker goes what a broker knows of an aborted transaction: whoever reads on would take all that comes for aborted.
    found.aborted = found.aborted.filter(({ last }) => last < found.high)
    // What a transaction had there is gone, and the partition knows nothing of it any more.
    const key = `${topic}\0${partition}`
    for (const { open } of this.#disk.writers.values())
      if ((open?.get(key) ?? 0n) >= found.high) open?.delete(key)
  }

  trim(topic: string, partition: number, before: bigint): void {
    const found = this.#disk.topics.get(topic)?.[partition]
    if (found === undefined || before <= found.low) return
    found.low = before < found.high ? before : found.high
    found.records = found.records.filter(({ offset }) => offset >= found.low)
  }

  delete(topic: string): void {
    this.#disk.topics.delete(topic)
    for (const { open } of this.#disk.writers.values())
      for (const key of open?.keys() ?? []) if (topicOf(key) === topic) open?.delete(key)
  }

  create(topic: string, partitions: number): boolean {
    if (this.#disk.topics.has(topic)) return false
    this.#disk.topics.set(
      topic,
      Array.from({ length: partitions }, () => ({ low: 0n, high: 0n, records: [], aborted: [] })),
    )
    return true
  }

  /** By partition: the last offset that was asked for, since this was looked at. */
  readonly asked = new Map<string, bigint>()

  /** For whoever looks for a fault: transactions that are open, and where each partition stands. */
  describe(): string {
    const open = [...this.#disk.writers].flatMap(([name, { epoch, open: of }]) =>
      of === undefined
        ? []
        : [`${name}/${epoch}: ${[...of].map(([key, from]) => `${key}@${from}`).join(' ')}`],
    )
    const partitions = [...this.#disk.topics].map(
      ([topic, of]) => `${topic}: ${of.map(({ low, high }) => `${low}-${high}`).join(' ')}`,
    )
    return `${this.#disk.clusterId}; open: ${open.join(', ')}; ${partitions.join(', ')}`
  }

  // What clients ask.

  get clusterId(): string {
    return this.#disk.clusterId
  }

  fenceOthers(name: string): { readonly id: number; readonly epoch: number } {
    let writer = this.#disk.writers.get(name)
    if (writer === undefined) {
      writer = { id: ++this.#writers, epoch: -1, open: undefined }
      this.#disk.writers.set(name, writer)
    }
    this.#close(writer, 'abort')
    writer.epoch++
    return { id: writer.id, epoch: writer.epoch }
  }

  #writer(name: string, { id, epoch }: { readonly id: number; readonly epoch: number }): Writer {
    const writer = this.#disk.writers.get(name)
    if (writer === undefined || writer.id !== id || writer.epoch !== epoch)
      throw protocol('INVALID_PRODUCER_EPOCH')
    return writer
  }

  append(
    name: string,
    mine: { readonly id: number; readonly epoch: number },
    topic: string,
    partition: number,
    messages: readonly KafkaMessage[],
  ): bigint {
    const writer = this.#writer(name, mine)
    if (this.refusal !== undefined) throw protocol(this.refusal)
    const found = this.#found(topic, partition)
    writer.open ??= new Map()
    const key = `${topic}\0${partition}`
    if (!writer.open.has(key)) writer.open.set(key, found.high)
    const base = found.high
    for (const { key: recordKey, value, headers } of messages)
      found.records.push({
        offset: found.high++,
        key: copied(recordKey),
        value: copied(value),
        headers: Object.fromEntries(
          Object.entries(headers ?? {}).map(([header, text]) => [header, Buffer.from(String(text))]),
        ),
        producer: writer.id,
        isControl: false,
      })
    return base
  }

  end(name: string, mine: { readonly id: number; readonly epoch: number }, how: 'commit' | 'abort'): void {
    this.#close(this.#writer(name, mine), how)
  }

  /** A client is gone: its transaction is given up after a while. */
  leave(name: string, mine: { readonly id: number; readonly epoch: number }): void {
    this.#after(GONE_TURNS, () =>
      attempt(() => {
        const writer = this.#writer(name, mine)
        this.#close(writer, 'abort')
        writer.epoch++
      }),
    )
  }

  #close(writer: Writer, how: 'commit' | 'abort'): void {
    for (const [key, first] of writer.open ?? []) {
      const found = this.#disk.topics.get(topicOf(key))?.[Number(key.slice(key.indexOf('\0') + 1))]
      if (found === undefined) continue
      if (how === 'abort') found.aborted.push({ producer: writer.id, first, last: found.high })
      found.records.push({
        offset: found.high++,
        key: MARKER[how],
        value: null,
        headers: {},
        producer: writer.id,
        isControl: true,
      })
    }
    writer.open = undefined
  }

  fetch(topic: string, partition: number, from: bigint): FetchedPartition {
    this.asked.set(`${topic}/${partition}`, from)
    const found = this.#found(topic, partition)
    if (from < found.low || from > found.high) throw protocol('OFFSET_OUT_OF_RANGE')
    const key = `${topic}\0${partition}`
    let stable = found.high
    for (const { open } of this.#disk.writers.values()) {
      const first = open?.get(key)
      if (first !== undefined && first < stable) stable = first
    }
    return {
      partition,
      errorCode: 0,
      highWatermark: String(found.high),
      lastStableOffset: String(stable),
      lastStartOffset: String(found.low),
      abortedTransactions: found.aborted
        .filter(({ last }) => last >= from)
        .map(({ producer, first }) => ({ producerId: String(producer), firstOffset: String(first) })),
      messages: found.records
        .filter(({ offset }) => offset >= from && offset < stable)
        .map((record) => ({
          offset: String(record.offset),
          timestamp: '0',
          key: record.key,
          value: record.value,
          headers: record.headers,
          isControlRecord: record.isControl,
          batchContext: {
            producerId: String(record.producer),
            inTransaction: true,
            lastOffsetDelta: 0,
            firstOffset: String(record.offset),
          },
        })),
    }
  }

  #found(topic: string, partition: number): Partition {
    const found = this.#disk.topics.get(topic)?.[partition]
    if (found === undefined) throw protocol('UNKNOWN_TOPIC_OR_PARTITION')
    return found
  }
}

function topicOf(key: string): string {
  return key.slice(0, key.indexOf('\0'))
}

export function away(): Error {
  return new kafkajs.KafkaJSConnectionError('the broker does not answer')
}

export function protocol(type: string): Error {
  const error = Object.assign(new Error(`the broker answers ${type}`), { type, code: 1, retriable: false })
  return new kafkajs.KafkaJSProtocolError(error)
}

function copied(value: Buffer | string | null | undefined): Buffer | null {
  return value == null ? null : Buffer.from(value)
}

/** A cloned buffer is plain bytes. */
function buffers({ key, value, headers }: Stored): Pick<Stored, 'key' | 'value' | 'headers'> {
  return {
    key: copied(key),
    value: copied(value),
    headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)])),
  }
}

/** What comes too late, and is refused, nobody hears of. */
function attempt(act: () => unknown): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof kafkajs.KafkaJSProtocolError)) throw error
  }
}
