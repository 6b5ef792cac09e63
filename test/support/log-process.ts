/** A process that writes or compacts a change log in memory: the loop of `up`, without what it does beside the log. */
import { laterPoint } from '../../services/core/ports/source.ts'
import { KafkaChangeLog } from '../../services/adapters/kafka/change-log/kafka-change-log.ts'
import type { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { compactTogether } from '../../services/app/daemon/compact-together.ts'
import { kafkaSettingsOf } from '../../services/app/wiring/compose.ts'
import type { Config, KafkaConfig } from '../../services/app/config/config.ts'
import { followTask } from '../../services/app/daemon/follow-ledger.ts'
import {
  aheadOfStore,
  beginLogAnew,
  type Hole,
  logSince,
  lostLog,
  nameLog,
} from '../../services/app/daemon/log-anew.ts'
import { Supervisor, type Task } from '../../services/app/daemon/supervisor.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { type Clock, systemClock, systemRandomness } from '../../services/core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../services/core/errors.ts'
import { comparePositions, laterPosition, type Position, positionText } from '../../services/core/position.ts'
import { Backoff } from '../../services/core/running-state.ts'
import { BaseCopy } from '../../services/replicator/base-copy.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import type { Generation } from '../../services/repository/generation.ts'
import type { Repository } from '../../services/repository/repository.ts'
import type { Link } from './memory-link.ts'
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'

export type Role = 'both' | 'replicator' | 'compactor'
export type LoggedConfig = Config & { readonly kafka: KafkaConfig }

/** The backup that the process works for. */
export interface ProcessHome {
  readonly source: MemorySource
  config(link: Link): LoggedConfig
  reader(link: Link): Promise<Repository>
  beginGeneration(repository: Repository, reason: string): Promise<void>
}

/** Pauses are a hundredth of what they are: nobody else is slow here. */
const quick: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) }
const HOUR_MS = 3_600_000

export class LogProcess {
  readonly role: Role
  readonly link: Link
  readonly #backup: ProcessHome
  readonly #hard = new AbortController()
  readonly #draining = new AbortController()
  readonly over: Promise<void>
  /** What ended it, where that was not its being told to. */
  failure: TidemarkError | undefined
  /** What it met and tried again. */
  readonly met: string[] = []
  /** What it is at. */
  stage = 'opening the ledger'

  /** Where its log stands. */
  doing: () => string = () => ''

  constructor(backup: ProcessHome, role: Role, link: Link, fresh?: string) {
    this.#backup = backup
    this.role = role
    this.link = link
    this.over = this.#run(fresh).catch((error: unknown) => {
      const known = asTidemarkError(error)
      if (this.#hard.signal.aborted) return
      this.failure = known
      this.met.push(`ended: ${known.code} ${known.message}`)
    })
  }

  async kill(): Promise<void> {
    this.link.cut()
    this.#hard.abort(new DOMException('killed', 'AbortError'))
    await this.over
  }

  async drain(): Promise<void> {
    this.#draining.abort(new DOMException('draining', 'AbortError'))
    await this.over
  }

  async #run(wanted: string | undefined): Promise<void> {
    const ending = AbortSignal.any([this.#hard.signal, this.#draining.signal])
    const backoff = new Backoff(quick, systemRandomness)
    const config = this.#backup.config(this.link)
    const repository = await this.#backup.reader(this.link)
    let anew: Hole | undefined
    let fresh = wanted
    while (!ending.aborted) {
      const since = logSince(repository)
      try {
        if (fresh !== undefined) {
          await repository.claim(this.role === 'replicator' ? -1 : 0)
          await this.#backup.beginGeneration(repository, fresh)
          fresh = undefined
        }
        if (anew !== undefined) {
          await beginLogAnew(repository, config, anew)
          anew = undefined
        }
        await repository.ledger.refresh()
        const generation = repository.catalog.generation!
        if (this.role !== 'compactor') await this.#stream(repository, generation, config)
        else if ((await this.#compact(repository, generation, config)) === 'again') continue
        break
      } catch (error) {
        if (this.#hard.signal.aborted) return
        const known = asTidemarkError(error)
        this.met.push(`${known.code} ${known.message}`)
        if (known.code === 'INTERRUPTED' && this.#draining.signal.aborted) return
        if (known.code === 'LOG_HOLE') {
          anew = { reason: known.message, since, role: this.role }
          await backoff.pause(ending).catch(() => undefined)
          continue
        }
        const lost = await lostLog(repository, config, known)
        if (typeof lost === 'string') {
          fresh = lost
          continue
        }
        await backoff.wait(lost ?? known, ending).catch((waited: unknown) => {
          if (!(waited instanceof DOMException)) throw waited
        })
      }
    }
  }

  #openLog(repository: Repository, generation: Generation, config: LoggedConfig, outline = false) {
    const { log } = generation
    const { kafka } = config
    return KafkaChangeLog.open(
      {
        ...kafka,
        settings: { ...kafkaSettingsOf(kafka), clock: quick },
        role: this.role,
        generation: generation.facts.generation,
        stream: repository.catalog.stream,
        term: Number(repository.claimedAt),
        after: generation.to,
        records: memoryDialect.records,
        place:
          log === null
            ? undefined
            : {
                log: log.log,
                from: BigInt(log.from),
                at: BigInt(log.at),
                since: Number(log.since),
                unit: log.unit,
                idsFrom: log.idsFrom === undefined ? undefined : BigInt(log.idsFrom),
              },
        outline,
        confirm: () => repository.confirmClaim(),
        clock: quick,
        randomness: systemRandomness,
        onRetry: (error) => this.met.push(`${error.code} ${error.message}`),
      },
      this.#hard.signal,
    )
  }

  #compact(repository: Repository, generation: Generation, config: LoggedConfig): Promise<'done' | 'again'> {
    this.stage = 'compacting'
    const points: string[] = []
    return compactTogether({
      config,
      repository,
      generation,
      policy: { segmentBytes: config.roll.segmentBytes, ageMs: config.roll.ageMs },
      say: (event) => {
        if (event.event === 'starting' || event.event === 'sharing') this.stage = JSON.stringify(event)
        if (event.event === 'retry') this.met.push(`${event.code} ${event.message}`)
      },
      onPoint: (point) => {
        points.push(point)
        this.doing = () => `${points.length} points, the last ${points.slice(-6).join(', ')}`
      },
      clock: quick,
      openLog: () => this.#openLog(repository, generation, config, true),
      onConnected: () => undefined,
      onStreaming: () => undefined,
      signal: this.#hard.signal,
      draining: this.#draining.signal,
    })
  }

  async #stream(repository: Repository, generation: Generation, config: LoggedConfig): Promise<void> {
    const { source } = this.#backup
    this.stage = 'naming the log'
    const check = (end: Position): Promise<void> =>
      comparePositions(source.confirmed, end) > 0
        ? Promise.reject(new TidemarkError('SLOT_AHEAD', 'the source was acknowledged with more'))
        : Promise.resolve()
    const trustsLog = config.kafka.acknowledge === 'log'
    const ahead = await aheadOfStore(() => check(generation.end), trustsLog)
    await nameLog(repository, config, ahead)
    this.stage = 'claiming'
    const term = await repository.claim(this.role === 'replicator' ? -1 : 0)
    this.stage = 'opening the log'
    const log = await this.#openLog(repository, generation, config)
    if (trustsLog)
      await check(laterPosition(generation.end, log.complete.position)).catch(async (error: unknown) => {
        await log.close()
        throw error
      })
    this.doing = () =>
      `term ${term}: ${log.waitingUnits} units wait, accepted ${positionText(log.accepted)}, durable ${positionText(log.durable)}`
    this.stage = `streaming from ${positionText(laterPosition(generation.end, log.complete.position))}`
    const number = generation.facts.generation
    const stop = new AbortController()
    const hard = AbortSignal.any([this.#hard.signal, stop.signal])
    const intake = AbortSignal.any([hard, this.#draining.signal])
    let failure: unknown
    const end = (error: unknown): void => {
      failure ??= error
      log.fail(error)
      stop.abort(new DOMException('stopped', 'AbortError'))
    }
    const replicator = new Replicator({
      records: memoryDialect.records,
      source,
      log,
      from: laterPoint(generation.endPoint, log.complete),
      durable: generation.end,
      checked: generation.checked,
      sampleMs: HOUR_MS,
      schemaMs: 100,
      reading: generation.reading,
      hard,
      clock: systemClock,
      randomness: systemRandomness,
      events: { onGap: () => undefined },
    })
    const { segmentBytes, ageMs } = config.roll
    const compacting =
      this.role === 'both'
        ? new Compactor({
            log,
            repository,
            generation: number,
            term,
            policy: { segmentBytes, ageMs },
            clock: systemClock,
            randomness: systemRandomness,
            events: {},
          })
            .run(hard)
            .catch(end)
        : follow(followTask(repository, log, number), intake).catch(
            (error: unknown) => !intake.aborted && end(error),
          )
    const replicating = replicator.run(intake).then(
      () => log.end(),
      (error: unknown) => (hard.aborted || !this.#draining.signal.aborted ? end(error) : log.end()),
    )
    const copying = this.#base(repository, generation, intake).catch((error: unknown) => {
      if (!intake.aborted) end(error)
    })
    await Promise.all([compacting, replicating, copying])
    await log.close()
    if (failure !== undefined) throw failure
  }

  async #base(repository: Repository, generation: Generation, signal: AbortSignal): Promise<void> {
    if (generation.base !== undefined) return
    await new BaseCopy({
      source: this.#backup.source,
      repository,
      generation: generation.facts.generation,
      clock: systemClock,
      randomness: systemRandomness,
      events: {},
    }).base(signal)
  }
}

async function follow(task: Task, signal: AbortSignal): Promise<void> {
  await new Supervisor({ tasks: [task], clock: quick, randomness: systemRandomness }).run(signal)
}
