/**
 * CutBoard over Kafka: a topic of posts, and a consumer group for membership alone: the partition of the topic of
 * transactions makes the leader, those of a topic that is never written are the lanes. Members fetch nothing and commit
 * nothing through the group: where work begins, the ledger says.
 */
import type { Admin, Consumer, Kafka, Producer } from 'kafkajs'
import type Cluster from 'kafkajs/src/cluster/index.js'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { CutBoard, CutRole } from '../../../core/ports/cut-board.ts'
import { deferred } from '../../../core/running-state.ts'
import { kafkaError, type KafkaSettings, openCluster, openKafka, RETRY } from '../client/connection.ts'
import { PartitionReader } from '../reading/partition-reader.ts'
import { boardTopic, lanesTopic, transactionsTopic } from '../records/topic-name.ts'
import { Topics } from '../topics/topics.ts'
import { HEADER, streamMark } from '../records/unit.ts'

/** A member that says nothing for so long is gone. */
const SESSION_MS = 10_000
const HEARTBEAT_MS = 2_000
/** A broker that has just started reads its groups first, for seconds; kafkajs gives up at its first "not yet". */
const JOIN_MS = 30_000
const JOIN_PAUSE_MS = 200
/** Posts that may be pending: older ones are done. */
const LOOK_BACK = 512n

export interface KafkaCutBoardOptions {
  readonly settings: KafkaSettings
  readonly prefix: string
  /** The backup's id: compactors of others are another group. */
  readonly stream: string
  readonly lanes: number
  readonly replicationFactor: number
  readonly clock: Clock
}

export class KafkaCutBoard implements CutBoard {
  readonly lanes: number
  readonly #options: KafkaCutBoardOptions
  readonly #kafka: Kafka
  readonly #admin: Admin
  readonly #cluster: Cluster
  readonly #producer: Producer
  readonly #failed = deferred<never>()
  #consumer: Consumer | undefined
  readonly failed: Promise<never> = this.#failed.promise

  private constructor(options: KafkaCutBoardOptions, kafka: Kafka) {
    this.lanes = options.lanes
    this.#options = options
    this.#kafka = kafka
    this.#admin = kafka.admin()
    this.#cluster = openCluster(options.settings)
    this.#producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
    })
  }

  /** @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  static async open(options: KafkaCutBoardOptions): Promise<KafkaCutBoard> {
    const board = new KafkaCutBoard(options, openKafka(options.settings))
    try {
      await Promise.all([board.#admin.connect(), board.#cluster.connect(), board.#producer.connect()])
      const topics = new Topics(board.#admin, options.clock, options.replicationFactor)
      await topics.ensure(transactionsTopic(options.prefix), 1)
      await topics.ensure(lanesTopic(options.prefix), options.lanes)
      await topics.ensure(boardTopic(options.prefix), 1)
      return board
    } catch (error) {
      await board.close()
      throw kafkaError(error, 'the board of cuts')
    }
  }

  /** The group of the backup's compactors. */
  get #group(): string {
    return `${this.#options.prefix}.compactors.${streamMark(this.#options.stream)}`
  }

  async join(listener: (role: CutRole) => void): Promise<void> {
    const { clock } = this.#options
    const deadline = clock.elapsed() + JOIN_MS
    for (;;) {
      try {
        await this.#joinOnce(listener)
        return
      } catch (error) {
        const known = kafkaError(error, `the group ${this.#group}`)
        if (known.retry !== 'again' || clock.elapsed() > deadline) throw known
        await clock.sleep(JOIN_PAUSE_MS)
      }
    }
  }

  /** Rejects where the group does not take us in; what comes later rejects `failed`. */
  async #joinOnce(listener: (role: CutRole) => void): Promise<void> {
    const { prefix } = this.#options
    const leading = transactionsTopic(prefix)
    const lanes = lanesTopic(prefix)
    // A consumer that starts itself again, as kafkajs' do, would be a member that nobody here knows of: it would lead, and do nothing.
    const retry = { ...RETRY, restartOnFailure: () => Promise.resolve(false) }
    const consumer = this.#kafka.consumer({
      retry,
      groupId: this.#group,
      sessionTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: 2 * SESSION_MS,
      allowAutoTopicCreation: false,
    })
    const { GROUP_JOIN, CRASH } = consumer.events
    let joined = false
    let crash: unknown
    consumer.on(GROUP_JOIN, ({ payload }) => {
      joined = true
      // Nothing is fetched through the group.
      consumer.pause([{ topic: leading }, { topic: lanes }])
      const mine = payload.memberAssignment as Readonly<Record<string, readonly number[] | undefined>>
      listener({ leads: mine[leading]?.includes(0) === true, lanes: mine[lanes] ?? [] })
    })
    consumer.on(CRASH, ({ payload }) => {
      if (joined) this.#failed.reject(kafkaError(payload.error, `the group ${this.#group}`))
      else crash = payload.error
    })
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [leading, lanes] })
      await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() })
      // A crash while it starts is told, not thrown.
      if (crash !== undefined) throw crash
      this.#consumer = consumer
    } catch (error) {
      await consumer.disconnect().catch(() => undefined)
      throw error
    }
  }

  async post(body: Buffer): Promise<void> {
    const topic = boardTopic(this.#options.prefix)
    try {
      await this.#producer.send({ topic, acks: -1, messages: [{ partition: 0, key: null, value: body }] })
    } catch (error) {
      throw kafkaError(error, topic)
    }
  }

  async *posts(signal: AbortSignal): AsyncIterable<Buffer> {
    const topic = boardTopic(this.#options.prefix)
    const { low, high } = await this.#ends(topic, 0)
    const reader = new PartitionReader(
      this.#cluster,
      topic,
      0,
      high - LOOK_BACK > low ? high - LOOK_BACK : low,
      HEADER,
      this.#options,
    )
    for (;;) {
      const { value } = await reader.following(signal)
      if (value !== null) yield value
    }
  }

  async #ends(topic: string, partition: number): Promise<{ readonly low: bigint; readonly high: bigint }> {
    try {
      const found = (await this.#admin.fetchTopicOffsets(topic)).find(
        (offsets) => offsets.partition === partition,
      )
      if (found === undefined)
        throw new TidemarkError('LOG_UNREACHABLE', `${topic}/${partition} is not there`)
      return { low: BigInt(found.low), high: BigInt(found.high) }
    } catch (error) {
      throw kafkaError(error, topic)
    }
  }

  async close(): Promise<void> {
    for (const part of [this.#consumer, this.#producer, this.#admin])
      await part?.disconnect().catch(() => undefined)
    await this.#cluster.disconnect().catch(() => undefined)
  }
}
