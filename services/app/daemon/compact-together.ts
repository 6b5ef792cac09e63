/**
 * One compactor among several: the group says which lanes of orders are its own and whether it leads. The leader reads what
 * the log says of its transactions, decides the cuts and writes the ledger; all build.
 */
import { Compactor } from '../../compactor/compactor.ts'
import { CutLeader } from '../../compactor/cut-leader.ts'
import { openAnswer, openOrder } from '../../compactor/cut-order.ts'
import { CutWorker } from '../../compactor/cut-worker.ts'
import type { RollPolicy } from '../../compactor/roll-policy.ts'
import { type Clock, systemClock, systemRandomness } from '../../core/clock.ts'
import { asTidemarkError } from '../../core/errors.ts'
import { positionText } from '../../core/position.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import type { CutBoard, CutRole } from '../../core/ports/cut-board.ts'
import { Backoff, deferred } from '../../core/running-state.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import { openCutSharing } from '../wiring/compose.ts'
import type { Config } from '../config/config.ts'
import { compactorEvents, type OnPoint, type Say } from './up-events.ts'

export interface CompactOptions {
  readonly config: Config
  readonly repository: Repository
  readonly generation: Generation
  readonly policy: RollPolicy
  readonly say: Say
  readonly onPoint: OnPoint
  /** The log as the leader reads it: transactions without their rows. Called after the claim. */
  readonly openLog: () => Promise<ChangeLog>
  readonly onConnected: (connected: boolean) => void
  readonly onStreaming: () => void
  readonly clock?: Clock
  readonly signal: AbortSignal
  readonly draining: AbortSignal
}

/** How often the ledger is looked at. */
const FOLLOW_MS = 500
/** A leader that finds the lane claimed by another one hears within this time that it no longer leads. */
const STEP_DOWN_MS = 30_000

interface Running {
  readonly stop: AbortController
  readonly task: Promise<void>
}

/** Runs until it is drained, a new generation begins elsewhere (`again`), or something fails. */
export async function compactTogether(options: CompactOptions): Promise<'done' | 'again'> {
  const { config, repository, generation, signal, draining, say, onPoint, clock = systemClock } = options
  const sharing = await openCutSharing(config, generation, repository.catalog.stream)
  const { board } = sharing
  const failed = deferred<never>()
  const hard = new AbortController()
  const all = AbortSignal.any([signal, hard.signal])
  const number = generation.facts.generation
  const retry = (error: { readonly code: string; readonly message: string }): void =>
    say({ event: 'retry', ...error })
  const worker = new CutWorker({
    board,
    repository,
    generation: number,
    parts: sharing.parts,
    clock,
    randomness: systemRandomness,
    onRetry: retry,
    ...(onPoint === undefined ? {} : { onPoint }),
  })
  const leaving = new Set<Promise<void>>()
  /** The board and the ledger are listened to until the very end. */
  const attending: Promise<void>[] = []
  let leader: (Running & { cuts?: CutLeader }) | undefined
  let role: CutRole = { leads: false, lanes: [] }
  let over = false

  const run = (work: (stop: AbortSignal) => Promise<void>): Running => {
    const stop = new AbortController()
    const task = work(stop.signal).catch((error: unknown) => {
      if (!all.aborted) failed.reject(error)
    })
    return { stop, task }
  }
  const end = ({ stop, task }: Running): void => {
    stop.abort(new DOMException('no longer ours', 'AbortError'))
    leaving.add(task)
    void task.finally(() => leaving.delete(task))
  }
  const take = (next: CutRole): void => {
    role = next
    if (over) return
    say({ event: 'sharing', leads: next.leads, lanes: [...next.lanes] })
    worker.lanes = next.lanes
    if (next.leads && leader === undefined && !draining.aborted) beginToLead()
    else if (!next.leads && leader !== undefined) {
      end(leader)
      leader = undefined
    } else if (leader !== undefined) void renew(leader)
  }
  /**
   * Chosen again: whoever claimed the lane meanwhile leads no more. Stopped for a while, this process may know nothing of it, and
   * what it ordered then nobody builds.
   */
  const renew = async (mine: Running): Promise<void> => {
    try {
      await repository.confirmClaim()
    } catch (error) {
      // Anything else befalls the leader itself.
      if (asTidemarkError(error).code !== 'WRITER_FENCED' || leader !== mine || !role.leads || over) return
      end(mine)
      leader = undefined
      if (!draining.aborted) beginToLead()
    }
  }
  const beginToLead = (): void => {
    const before = [...leaving]
    const mine: NonNullable<typeof leader> = run(async (stop) => {
      // The claim is the process's: under a new one an older leader must not write.
      await Promise.allSettled(before)
      await lead(options, board, stop, all, {
        stillLeads: () => role.leads,
        onLeader: (cuts) => (mine.cuts = cuts),
      })
    })
    leader = mine
    void mine.task.finally(() => {
      if (leader === mine) leader = undefined
      // It was fenced, and is told to lead all the same.
      if (leader === undefined && role.leads && !over && !draining.aborted && !all.aborted) beginToLead()
    })
  }
  /** One reader of the board for both sides. */
  const listen = async (): Promise<void> => {
    const backoff = new Backoff(clock, systemRandomness)
    while (!all.aborted) {
      try {
        for await (const body of board.posts(all)) {
          const order = openOrder(repository, body)
          if (order !== undefined) worker.see(order)
          else {
            const answer = openAnswer(repository, body)
            if (answer !== undefined) leader?.cuts?.see(answer)
          }
          backoff.reset()
        }
      } catch (error) {
        if (all.aborted) return
        const known = await backoff.wait(error, all)
        retry({ code: known.code, message: known.message })
      }
    }
  }

  const superseded = deferred<'again'>()
  const watch = async (): Promise<void> => {
    while (!all.aborted) {
      await repository.ledger.refresh()
      // Nobody takes what it builds any more.
      repository.confirmSigner()
      if (repository.catalog.generation !== generation) superseded.resolve('again')
      if (generation.base !== undefined) options.onStreaming()
      await clock.sleep(FOLLOW_MS, all).catch(() => undefined)
    }
  }
  const drained = deferred<'done'>()
  const drain = async (): Promise<void> => {
    // The leader's last cuts are still built in its own lanes.
    await leader?.task
    drained.resolve('done')
  }
  const onDrain = (): void => void drain()
  const working = run((stop) => worker.work(stop, all))
  try {
    await board.join(take)
    options.onConnected(true)
    for (const task of [watch(), listen()]) {
      attending.push(task)
      task.catch((error: unknown) => failed.reject(error))
    }
    draining.addEventListener('abort', onDrain, { once: true })
    if (draining.aborted) onDrain()
    signal.addEventListener('abort', () => failed.reject(signal.reason), { once: true })
    // While it was joining.
    if (signal.aborted) failed.reject(signal.reason)
    return await Promise.race([failed.promise, board.failed, superseded.promise, drained.promise])
  } finally {
    over = true
    draining.removeEventListener('abort', onDrain)
    options.onConnected(false)
    end(working)
    if (leader !== undefined) end(leader)
    // A drain lets what was begun be finished; anything else leaves it to others.
    if (!draining.aborted) hard.abort(new DOMException('stopped', 'AbortError'))
    await Promise.allSettled([...leaving])
    hard.abort(new DOMException('stopped', 'AbortError'))
    await Promise.allSettled(attending)
    await sharing.close()
  }
}

/** Leads until it is told to stop, is fenced by another leader, or the log is drained. */
async function lead(
  options: CompactOptions,
  board: CutBoard,
  stop: AbortSignal,
  all: AbortSignal,
  group: { stillLeads(): boolean; onLeader(leader: CutLeader): void },
): Promise<void> {
  const { repository, generation, policy, say, onPoint, draining, clock = systemClock } = options
  const number = generation.facts.generation
  const anew = new AbortController()
  const ended = AbortSignal.any([stop, all, anew.signal])
  // The replicator found a hole: what was read of the log is left, and read from there on.
  const off = repository.ledger.onEntry(({ body }) => {
    if (body?.kind === 'lanes' && body.generation === number)
      anew.abort(new DOMException('the log begins anew', 'AbortError'))
  })
  let log: ChangeLog | undefined
  const drain = (): void => log?.end()
  try {
    // The replicator names the log before it writes the first unit: nothing else in it is of this backup.
    while (generation.log === null && !ended.aborted && !draining.aborted)
      await clock.sleep(FOLLOW_MS, ended).catch(() => undefined)
    if (ended.aborted || generation.log === null) return
    await repository.ledger.refresh()
    const term = await repository.claim(0)
    log = await options.openLog()
    if (ended.aborted) return
    say({ event: 'starting', generation: number, from: positionText(generation.end) })
    draining.addEventListener('abort', drain, { once: true })
    if (draining.aborted) drain()
    const leader = new CutLeader({
      board,
      repository,
      generation: number,
      term,
      segmentBytes: policy.segmentBytes,
      clock,
      randomness: systemRandomness,
      onRetry: (error) => say({ event: 'retry', ...error }),
    })
    group.onLeader(leader)
    const compactor = new Compactor({
      log,
      repository,
      generation: number,
      term,
      policy,
      clock,
      randomness: systemRandomness,
      events: compactorEvents(say, onPoint, clock),
      build: (cut, signal) => leader.build(cut, signal),
      cutsInFlight: 2 * board.lanes,
    })
    await compactor.run(ended)
  } catch (error) {
    if (ended.aborted) return
    if (asTidemarkError(error).code !== 'WRITER_FENCED') throw error
    const until = clock.elapsed() + STEP_DOWN_MS
    while (group.stillLeads() && clock.elapsed() < until)
      await clock.sleep(FOLLOW_MS, ended).catch(() => undefined)
    if (group.stillLeads() && !ended.aborted) throw error
  } finally {
    off()
    draining.removeEventListener('abort', drain)
    await log?.close()
  }
}
