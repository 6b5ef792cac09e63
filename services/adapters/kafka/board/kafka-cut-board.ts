/**
 * CutBoard over Kafka: a topic of posts, and a consumer group for membership alone: the partition of the topic of
 * transactions makes the leader, those of a topic that is never written are the lanes. Members fetch nothing and commit
 * nothing through the group: where work begins, the ledger says.
 */
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { CutBoard, CutRole } from '../../../core/ports/cut-board.ts'
import { isOutage, pausesWithin, retrying } from '../../../core/retry.ts'
import { deferred } from '../../../core/running-state.ts'
import type { GroupMember, KafkaAdmin, KafkaClient, KafkaFetcher, KafkaPoster } from '../client/client.ts'
import { openClient } from '../client/connection.ts'
import { kafkaError } from '../client/errors.ts'
import type { KafkaSettings } from '../client/settings.ts'
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
  readonly #client: KafkaClient
  readonly #admin: KafkaAdmin
  readonly #fetcher: KafkaFetcher
  readonly #poster: KafkaPoster
  readonly #failed = deferred<never>()
  #member: GroupMember | undefined
  readonly failed: Promise<never> = this.#failed.promise

  private constructor(options: KafkaCutBoardOptions, client: KafkaClient) {
    this.lanes = options.lanes
    this.#options = options
    this.#client = client
    this.#admin = client.admin()
    this.#fetcher = client.fetcher()
    this.#poster = client.poster()
  }

  /** @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  static async open(options: KafkaCutBoardOptions): Promise<KafkaCutBoard> {
    const board = new KafkaCutBoard(options, openClient(options.settings))
    try {
      await Promise.all([board.#admin.connect(), board.#fetcher.connect(), board.#poster.connect()])
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
    await retrying(() => this.#joinOnce(listener), {
      clock,
      pauses: pausesWithin(clock, JOIN_PAUSE_MS, JOIN_MS),
      passes: isOutage,
    })
  }

  /** Rejects where the group does not take us in; what comes later rejects `failed`. */
  async #joinOnce(listener: (role: CutRole) => void): Promise<void> {
    const leading = transactionsTopic(this.#options.prefix)
    const lanes = lanesTopic(this.#options.prefix)
    const joining = this.#client.join({
      id: this.#group,
      topics: [leading, lanes],
      sessionMs: SESSION_MS,
      heartbeatMs: HEARTBEAT_MS,
      rebalanceMs: 2 * SESSION_MS,
      onAssigned: (mine) =>
        listener({ leads: mine[leading]?.includes(0) === true, lanes: mine[lanes] ?? [] }),
      onLost: (error) => this.#failed.reject(kafkaError(error, `the group ${this.#group}`)),
    })
    this.#member = await joining.catch((error: unknown) => {
      throw kafkaError(error, `the group ${this.#group}`)
    })
  }

  async post(body: Buffer): Promise<void> {
    const topic = boardTopic(this.#options.prefix)
    try {
      await this.#poster.send([{ topic, messages: [{ partition: 0, key: null, value: body }] }])
    } catch (error) {
      throw kafkaError(error, topic)
    }
  }

  async *posts(signal: AbortSignal): AsyncIterable<Buffer> {
    const topic = boardTopic(this.#options.prefix)
    const { low, high } = await this.#ends(topic, 0)
    const reader = new PartitionReader(
      this.#fetcher,
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
      const found = (await this.#admin.ends(topic)).find((end) => end.partition === partition)
      if (found === undefined)
        throw new TidemarkError('LOG_UNREACHABLE', `${topic}/${partition} is not there`)
      return found
    } catch (error) {
      throw kafkaError(error, topic)
    }
  }

  async close(): Promise<void> {
    await this.#member?.leave().catch(() => undefined)
    for (const part of [this.#poster, this.#admin, this.#fetcher])
      await part.disconnect().catch(() => undefined)
  }
}
