/**
 * What the rest of the adapter may ask of a client of Kafka. Nothing outside of this room knows which client that is: a test gives
 * a broker in memory in its place.
 *
 * Each part is a connection of its own, and whoever asked for it closes it. What a part throws is the client's own; `kafkaError`
 * says what it means for the log, and `answerOf` how Kafka itself names what a broker answered:
 *
 * - LOG_UNREACHABLE: nobody answered, or not now. The same is asked again.
 * - LOG_REFUSED: a setting, a right or a certificate stands in the way, and a person has to mend it.
 * - LOG_FENCED: another writer has opened the same transactional id.
 * - LOG_HOLE: what is asked for is not in the log any more, or not whole.
 * - anything else is a mistake of ours, and never tried again.
 */

export interface KafkaClient {
  admin(): KafkaAdmin
  fetcher(): KafkaFetcher
  /** Writes by transactions under a name; `begin` fences who has that name. */
  writer(name: { readonly transactionalId: string; readonly timeoutMs?: number }): KafkaWriter
  /** Writes single messages. */
  poster(): KafkaPoster
  /** Resolves once the group has taken us in. */
  join(group: GroupRequest): Promise<GroupMember>
}

interface Connection {
  connect(): Promise<void>
  disconnect(): Promise<void>
}

export interface KafkaAdmin extends Connection {
  topics(): Promise<readonly string[]>
  cluster(): Promise<{ readonly id: string; readonly brokers: readonly number[] }>
  /** Of each partition that the topic has; a leader that does not know its own end yet says so by an error that `mayPass`. */
  ends(topic: string): Promise<readonly TopicEnd[]>
  /** The leader of each partition, negative where there is none now. */
  leaders(topics: readonly string[]): Promise<readonly TopicLeaders[]>
  /** False where it is there. Does not wait for its leaders. */
  make(topic: NewTopic): Promise<boolean>
  brokerSettings(broker: number): Promise<ReadonlyMap<string, string>>
  topicSettings(topics: readonly string[], names: readonly string[]): Promise<readonly TopicSetting[]>
}

interface TopicEnd {
  readonly partition: number
  /** The first offset that is still there. */
  readonly low: bigint
  /** The next one that will be written. */
  readonly high: bigint
}

interface TopicLeaders {
  readonly topic: string
  readonly leaders: readonly number[]
}

interface NewTopic {
  readonly topic: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly settings: Readonly<Record<string, string>>
}

interface TopicSetting {
  readonly topic: string
  readonly name: string
  readonly value: string
  /** The topic's own, and not its brokers'. */
  readonly isOwn: boolean
}

/** Fetches by hand: what a consumer of a client commits by itself, and where it begins, is nothing that a backup can rest on. */
export interface KafkaFetcher extends Connection {
  /** The broker that leads a partition; undefined while that is not known. */
  leader(topic: string, partition: number): string | undefined
  /** Looks up who leads what; of one more topic, where it is given. */
  lookUp(topic?: string): Promise<void>
  /** What is committed, and of the rest what tells that it is not. @throws DamagedBatchError where a checksum is another */
  fetch(broker: string, request: FetchRequest): Promise<readonly FetchedTopic[]>
}

interface FetchRequest {
  /** The broker answers at once where there is something. */
  readonly waitMs: number
  readonly bytes: number
  readonly topics: readonly {
    readonly topic: string
    readonly partitions: readonly {
      readonly partition: number
      readonly offset: bigint
      readonly bytes: number
    }[]
  }[]
}

interface FetchedTopic {
  readonly topicName: string
  readonly partitions: readonly FetchedPartition[]
}

/** As it comes from the wire: thousands of messages a second are not copied once more. */
export interface FetchedPartition {
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: string
  readonly lastStableOffset: string
  /** log_start_offset, as kafkajs names it */
  readonly lastStartOffset: string
  readonly abortedTransactions:
    | readonly { readonly producerId: string; readonly firstOffset: string }[]
    | null
  readonly messages: readonly FetchedMessage[]
}

interface FetchedMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, Buffer | undefined>>
  readonly isControlRecord: boolean
  readonly batchContext: {
    readonly producerId: string
    readonly inTransaction: boolean
    readonly lastOffsetDelta: number
    readonly firstOffset: string
  }
}

/** Thrown away after any error: what became of what it had under way, the log itself tells. */
export interface KafkaWriter extends Connection {
  begin(): Promise<KafkaTransaction>
}

/** One send at a time. A message is in the log once, or the send has failed. */
interface KafkaTransaction {
  /** One batch for each partition, in the order of its messages. */
  send(topics: TopicMessages[], compression?: 'gzip'): Promise<readonly Written[]>
  commit(): Promise<void>
  abort(): Promise<void>
}

export interface KafkaPoster extends Connection {
  send(topics: TopicMessages[]): Promise<readonly Written[]>
}

export interface TopicMessages {
  topic: string
  messages: KafkaMessage[]
}

export interface KafkaMessage {
  readonly partition: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Milliseconds since 1970; now where it is not given. */
  readonly timestamp?: string
  readonly headers?: Record<string, Buffer | string>
}

export interface Written {
  readonly topicName: string
  readonly partition: number
  /** Of the batch's first message. */
  readonly baseOffset?: string
}

export interface GroupRequest {
  readonly id: string
  /** Their partitions are what the members share out; none is fetched. */
  readonly topics: readonly string[]
  /** A member that says nothing for so long is gone. */
  readonly sessionMs: number
  readonly heartbeatMs: number
  readonly rebalanceMs: number
  /** At each new distribution. */
  readonly onAssigned: (mine: Readonly<Record<string, readonly number[] | undefined>>) => void
  /** It is a member no more, and does not become one again by itself. */
  readonly onLost: (error: unknown) => void
}

export interface GroupMember {
  leave(): Promise<void>
}
