/** The source's stream into the change log, and out of it: tasks that begin and end together, each attempt anew. */
import { streamTrouble } from '../../core/error-codes.ts'
import { laterPoint } from '../../core/ports/source.ts'
import { Compactor } from '../../compactor/compactor.ts'
import { asTidemarkError } from '../../core/errors.ts'
import { laterPosition, positionText } from '../../core/position.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import { Replicator } from '../../replicator/replicator.ts'
import type { Generation } from '../../repository/generation.ts'
import type { openSource } from '../wiring/compose.ts'
import { dialectOf } from '../wiring/dialect.ts'
import { CopyQueue } from './copy-queue.ts'
import { followTask } from './follow-ledger.ts'
import type { Job } from './job.ts'
import { aheadOfStore, nameLog } from './log-anew.ts'
import { type Running, Supervisor, type Task } from './supervisor.ts'
import { baseEvents, compactorEvents, replicatorEvents } from './up-events.ts'

type Source = ReturnType<typeof openSource>

/** An attempt has these, from the log that it opened to its end. */
interface Attempt {
  readonly job: Job
  readonly source: Source
  readonly generation: Generation
  readonly log: ChangeLog
  readonly term: number
}

/** Until it is drained or told to leave. @throws what one of the tasks failed with */
export async function stream(
  job: Job,
  source: Source,
  generation: Generation,
  { signal, draining }: Running,
): Promise<void> {
  const { log, term } = await openedLog(job, source, generation, signal)
  const attempt = { job, source, generation, log, term }
  job.say({
    event: 'starting',
    generation: generation.facts.generation,
    from: positionText(generation.end),
  })
  const failed = new AbortController()
  const hard = AbortSignal.any([signal, failed.signal])
  const replicator = replicatorOf(attempt, hard)
  job.flow = () => ({ received: replicator.received, durable: log.durable })
  const copies = copyQueue(attempt, replicator)
  const tasks = [
    job.duties.compacts ? compact(attempt) : followTask(job.repository, log, generation.facts.generation),
    replicate(replicator, attempt),
    { name: 'copies of tables', run: copies.run },
  ]
  const off = copies.queue.wantOpenGaps()
  const onFailure = (error: unknown): void => {
    log.fail(error)
    failed.abort(new DOMException('stopped', 'AbortError'))
  }
  job.connected = true
  if (generation.base !== undefined) job.streaming(generation)
  try {
    const { clock, randomness } = job
    await new Supervisor({ tasks, clock, randomness, onFailure }).run(hard, draining)
  } finally {
    off()
    await log.close()
  }
}

async function openedLog(
  job: Job,
  source: Source,
  generation: Generation,
  signal: AbortSignal,
): Promise<{ readonly log: ChangeLog; readonly term: number }> {
  const { repository, config } = job
  const taken = await source.taken()
  if (taken !== undefined) {
    // Taken by a successor while this process was stopped or cut off: it ends, rather than wait to take it back.
    await repository.confirmClaim()
    throw taken
  }
  // With `acknowledge: log` the source may be ahead of the store, up to what the log holds.
  const trustsLog = config.kafka?.acknowledge === 'log'
  const ahead = await aheadOfStore(() => source.check(generation.end), trustsLog)
  await nameLog(repository, config, ahead)
  const term = await job.claim()
  const log = await job.openLog(generation, signal)
  if (trustsLog)
    await source.check(laterPosition(generation.end, log.complete.position)).catch(async (error: unknown) => {
      await log.close()
      throw error
    })
  return { log, term }
}

function replicatorOf({ job, source, generation, log }: Attempt, hard: AbortSignal): Replicator {
  const { repository, config, clock, randomness, say } = job
  return new Replicator({
    source,
    records: dialectOf(generation.facts.engine).records,
    log,
    from: laterPoint(generation.endPoint, log.complete),
    durable: generation.end,
    checked: generation.checked,
    inGap: new Set(
      repository.catalog.openGaps.flatMap(({ scope }) => (scope.kind === 'table' ? [scope.oid] : [])),
    ),
    sampleMs: Math.max(1000, config.roll.ageMs / 2),
    schemaMs: config.roll.ageMs / 4,
    reading: generation.reading,
    hard,
    clock,
    randomness,
    events: replicatorEvents(say),
  })
}

/** When it is drained what came is finished by whoever reads the log; behind a publication that is gone the stream has a hole, and it ends as well. */
function replicate(replicator: Replicator, { job, log }: Attempt): Task {
  return {
    name: 'replicator',
    drains: true,
    isMain: !job.duties.compacts,
    async run({ signal, draining }) {
      try {
        await replicator.run(draining)
      } catch (error) {
        const known = asTidemarkError(error)
        const isHole = streamTrouble(known.code) === 'cut'
        if (signal.aborted) log.fail(known)
        else if (isHole) log.end()
        if (signal.aborted || isHole || !draining.aborted) throw known
      }
      log.end()
    },
    failed: ({ code }) => ({ meaning: streamTrouble(code) === 'cut' ? 'drains' : 'ends' }),
  }
}

function compact({ job, log, generation, term }: Attempt): Task {
  const { repository, config, clock, randomness, say, onPoint } = job
  const compactor = new Compactor({
    log,
    repository,
    generation: generation.facts.generation,
    term,
    policy: config.roll,
    clock,
    randomness,
    events: compactorEvents(say, onPoint, clock),
  })
  // Drained, it ends with the log.
  return { name: 'compactor', drains: true, isMain: true, run: ({ signal }) => compactor.run(signal) }
}

function copyQueue({ job, source, generation }: Attempt, replicator: Replicator) {
  const { repository, say, onPoint, clock } = job
  const events = {
    ...baseEvents(say, onPoint),
    onCopying: (oid: number, isUnderWay: boolean) => replicator.copying(oid, isUnderWay),
  }
  const queue = new CopyQueue(source, repository, generation.facts.generation, events, clock)
  return {
    queue,
    run: ({ signal }: Running) => queue.run(signal, say, () => job.streaming(generation)),
  }
}
