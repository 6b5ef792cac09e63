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
import { deferred } from '../../core/running-state.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import { openCutSharing } from '../wiring/compose.ts'
import type { Config } from '../config/config.ts'
import { type Running, Supervisor, type Task, whileOutage } from './supervisor.ts'
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

/** What runs in a process of its own accord until it is told that it is no longer its. */
interface Work {
  readonly stop: AbortController
  readonly task: Promise<void>
}

/** Runs until it is drained, a new generation begins elsewhere (`again`), or something fails. */
export async function compactTogether(options: CompactOptions): Promise<'done' | 'again'> {
  const { config, repository, generation, signal, draining, clock = systemClock } = options
  const sharing = await openCutSharing(config, generation, repository.catalog.stream)
  try {
    const member = new Member(options, sharing)
    const tasks = [member, member.listening, member.watching]
    await new Supervisor({ tasks, clock, randomness: systemRandomness }).run(signal, draining)
    return member.isSuperseded ? 'again' : 'done'
  } finally {
    await sharing.close()
  }
}

/** One of those who share the cuts: builds in its own lanes, and leads while it is told to. */
class Member implements Task {
  readonly name = 'member'
  readonly isMain = true
  readonly drains = true
  readonly #options: CompactOptions
  readonly #board: CutBoard
  readonly #worker: CutWorker
  /** What was begun and is told to end. */
  readonly #leaving = new Set<Promise<void>>()
  readonly #hard = new AbortController()
  readonly #failed = deferred<never>()
  readonly #superseded = deferred<void>()
  #all: AbortSignal = this.#hard.signal
  #leader: (Work & { cuts?: CutLeader }) | undefined
  #role: CutRole = { leads: false, lanes: [] }
  #isOver = false
  isSuperseded = false

  constructor(options: CompactOptions, { board, parts }: Awaited<ReturnType<typeof openCutSharing>>) {
    const { repository, generation, onPoint, clock = systemClock } = options
    this.#options = options
    this.#board = board
    this.#worker = new CutWorker({
      board,
      repository,
      generation: generation.facts.generation,
      parts,
      clock,
      randomness: systemRandomness,
      onRetry: this.#retry,
      ...(onPoint === undefined ? {} : { onPoint }),
    })
  }

  /** One reader of the board for both sides, until the very end. */
  get listening(): Task {
    const { repository } = this.#options
    return {
      name: 'board',
      serves: true,
      run: async ({ signal, gotOn }) => {
        for await (const body of this.#board.posts(signal)) {
          const order = openOrder(repository, body)
          if (order !== undefined) this.#worker.see(order)
          else {
            const answer = openAnswer(repository, body)
            if (answer !== undefined) this.#leader?.cuts?.see(answer)
          }
          gotOn()
        }
      },
      due: { everyMs: 0 },
      failed: whileOutage,
      onPause: ({ code, message }) => this.#retry({ code, message }),
    }
  }

  get watching(): Task {
    const { repository, generation, onStreaming } = this.#options
    return {
      name: 'ledger',
      serves: true,
      due: { everyMs: FOLLOW_MS },
      run: async () => {
        await repository.ledger.refresh()
        // Nobody takes what it builds any more.
        repository.confirmSigner()
        if (repository.catalog.generation !== generation) {
          this.isSuperseded = true
          this.#superseded.resolve()
        }
        if (generation.base !== undefined) onStreaming()
      },
    }
  }

  async run({ signal, draining }: Running): Promise<void> {
    this.#all = AbortSignal.any([signal, this.#hard.signal])
    const working = this.#begin((stop) => this.#worker.work(stop, this.#all))
    try {
      await this.#board.join((role) => this.#take(role))
      this.#options.onConnected(true)
      const told = untilAborted(draining).then(async () => {
        // The leader's last cuts are still built in its own lanes.
        if (!signal.aborted) await this.#leader?.task
      })
      await Promise.race([told, this.#failed.promise, this.#board.failed, this.#superseded.promise])
    } finally {
      this.#isOver = true
      this.#options.onConnected(false)
      this.#end(working)
      if (this.#leader !== undefined) this.#end(this.#leader)
      // A drain lets what was begun be finished; anything else leaves it to others.
      if (!draining.aborted) this.#hard.abort(new DOMException('stopped', 'AbortError'))
      await Promise.allSettled([...this.#leaving])
    }
  }

  readonly #retry = (error: { readonly code: string; readonly message: string }): void =>
    this.#options.say({ event: 'retry', ...error })

  #begin(work: (stop: AbortSignal) => Promise<void>): Work {
    const stop = new AbortController()
    const task = work(stop.signal).catch((error: unknown) => {
      if (!this.#all.aborted) this.#failed.reject(error)
    })
    return { stop, task }
  }

  #end({ stop, task }: Work): void {
    stop.abort(new DOMException('no longer ours', 'AbortError'))
    this.#leaving.add(task)
    void task.finally(() => this.#leaving.delete(task))
  }

  #take(role: CutRole): void {
    this.#role = role
    if (this.#isOver) return
    this.#options.say({ event: 'sharing', leads: role.leads, lanes: [...role.lanes] })
    this.#worker.lanes = role.lanes
    if (role.leads && this.#leader === undefined) this.#beginToLead()
    else if (!role.leads && this.#leader !== undefined) {
      this.#end(this.#leader)
      this.#leader = undefined
    } else if (this.#leader !== undefined) void this.#renew(this.#leader)
  }

  /**
   * Chosen again: whoever claimed the lane meanwhile leads no more. Stopped for a while, this process may know nothing of it, and
   * what it ordered then nobody builds.
   */
  async #renew(mine: Work): Promise<void> {
    try {
      await this.#options.repository.confirmClaim()
    } catch (error) {
      // Anything else befalls the leader itself.
      if (asTidemarkError(error).code !== 'WRITER_FENCED' || this.#leader !== mine) return
      if (!this.#role.leads || this.#isOver) return
      this.#end(mine)
      this.#leader = undefined
      this.#beginToLead()
    }
  }

  #beginToLead(): void {
    if (this.#options.draining.aborted) return
    const before = [...this.#leaving]
    const mine: Work & { cuts?: CutLeader } = this.#begin(async (stop) => {
      // The claim is the process's: under a new one an older leader must not write.
      await Promise.allSettled(before)
      await lead(this.#options, this.#board, AbortSignal.any([stop, this.#all]), {
        stillLeads: () => this.#role.leads,
        onLeader: (cuts) => (mine.cuts = cuts),
      })
    })
    this.#leader = mine
    void mine.task.finally(() => {
      if (this.#leader === mine) this.#leader = undefined
      // It was fenced, and is told to lead all the same.
      if (this.#leader === undefined && this.#role.leads && !this.#isOver && !this.#all.aborted)
        this.#beginToLead()
    })
  }
}

/** Leads until it is told to stop, is fenced by another leader, or the log is drained. */
async function lead(
  options: CompactOptions,
  board: CutBoard,
  left: AbortSignal,
  group: { stillLeads(): boolean; onLeader(leader: CutLeader): void },
): Promise<void> {
  const { repository, generation, say, draining, clock = systemClock } = options
  const number = generation.facts.generation
  const anew = new AbortController()
  const ended = AbortSignal.any([left, anew.signal])
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
    const { leader, compactor } = leading(options, board, log, term)
    group.onLeader(leader)
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

function leading(
  { repository, generation, policy, say, onPoint, clock = systemClock }: CompactOptions,
  board: CutBoard,
  log: ChangeLog,
  term: number,
): { readonly leader: CutLeader; readonly compactor: Compactor } {
  const number = generation.facts.generation
  const randomness = systemRandomness
  const leader = new CutLeader({
    board,
    repository,
    generation: number,
    term,
    segmentBytes: policy.segmentBytes,
    clock,
    randomness,
    onRetry: (error) => say({ event: 'retry', ...error }),
  })
  const compactor = new Compactor({
    log,
    repository,
    generation: number,
    term,
    policy,
    clock,
    randomness,
    events: compactorEvents(say, onPoint, clock),
    build: (cut, signal) => leader.build(cut, signal),
    cutsInFlight: 2 * board.lanes,
  })
  return { leader, compactor }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
