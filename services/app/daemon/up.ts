/**
 * The main job in one process: base if needed, stream always, and what is done beside it from time to time. Which tasks
 * there are is said here; how they wait, fail and stop, the supervisor says.
 */
import { LIMITS } from '../../core/limits.ts'
import { HealthBoard, type HealthReading } from './health-board.ts'
import { Job, type UpOptions } from './job.ts'
import { anchorTask } from './keep-anchors.ts'
import { copyTasks } from './keep-copies.ts'
import { fitnessTask } from './source-fitness.ts'
import { SourceGauge } from './source-gauge.ts'
import { StreamTask } from './stream-task.ts'
import { Supervisor, type Task } from './supervisor.ts'
import { orphansEvent, type UpEvent } from './up-events.ts'
import { upkeepTask } from './upkeep.ts'
import { WalBudget } from './wal-budget.ts'

export type { Role } from './job.ts'

/** How often it is looked at whether changes wait. */
const LOOK_MS = 1000

export class Up {
  readonly #options: UpOptions
  readonly #job: Job
  readonly #board: HealthBoard
  readonly #gauge: SourceGauge
  /** Not for a compactor alone, which has no way to the source. */
  readonly #budget: WalBudget | undefined
  readonly #supervisor: Supervisor

  constructor(options: UpOptions) {
    this.#options = options
    const job = new Job(options, (event) => this.#say(event))
    const { config, repository, clock, randomness, duties } = job
    this.#job = job
    this.#gauge = new SourceGauge(clock)
    this.#board = new HealthBoard({
      repository,
      source: () => this.#gauge.reading,
      flow: () => job.flow?.(),
      isConnected: () => job.connected,
      isStopping: () => this.#supervisor.isStopping,
      rollMs: config.roll.ageMs,
      clock,
    })
    if (duties.readsSource)
      this.#budget = new WalBudget({
        url: config.source.url,
        generation: () => repository.catalog.generation,
        say: job.say,
        clock,
      })
    this.#supervisor = new Supervisor({
      tasks: this.#tasks(),
      clock,
      randomness,
      bounds: { drainMs: LIMITS.drainMs, leaveMs: LIMITS.leaveMs },
    })
  }

  get source(): Job['source'] {
    return this.#job.source
  }

  /** From what is known here: neither the source nor a store is asked. */
  get health(): HealthReading {
    return this.#board.facts()
  }

  /** Ends intake; what was received becomes durable, then `run` resolves. Idempotent, and in force before `run`. */
  drain(): void {
    this.#supervisor.drain()
  }

  /** @param leave leaves at once: what is not durable was never acknowledged and comes again */
  async run(leave: AbortSignal): Promise<void> {
    const { repository, duties, say } = this.#job
    if (duties.compacts)
      for (const { place, orphans } of await repository.stores.takeBack(() => repository.signer))
        say(orphansEvent(place, orphans))
    const drained = await this.#supervisor.run(leave)
    say({ event: 'stopped', drained })
  }

  #say(event: UpEvent): void {
    this.#board.see(event)
    this.#budget?.see(event)
    this.#options.onEvent(event)
  }

  #tasks(): readonly Task[] {
    const job = this.#job
    return [
      new StreamTask(job, this.#options.newGeneration),
      { name: 'board', due: { everyMs: LOOK_MS }, run: async () => this.#board.look() },
      ...(this.#budget === undefined
        ? []
        : [
            this.#budget.task,
            this.#gauge.task(() => (job.connected ? job.source : undefined)),
            fitnessTask({ admin: () => job.admin, isConnected: () => job.connected, say: job.say }),
          ]),
      ...(job.duties.compacts ? this.#keeping() : []),
    ]
  }

  /** What is stored is looked after by the process that writes the ledger: its own work for the most part. */
  #keeping(): readonly Task[] {
    const job = this.#job
    const { repository, copies, anchors, say, clock } = job
    const { ledger, catalog } = repository
    const signer = () => repository.signer
    return [
      ...copyTasks({
        ledger,
        stream: catalog.stream,
        floor: () => catalog.removedFloor,
        signer,
        copies,
        say,
        clock,
        onCopied: (place, entry) => this.#board.copied(place, entry),
        isOurs: () => job.leads,
      }),
      upkeepTask({
        repository,
        copies,
        scrubDays: job.config.scrubDays ?? 0,
        say,
        clock,
        isOurs: () => job.leads && job.connected,
      }),
      ...(anchors === undefined
        ? []
        : [
            anchorTask({
              anchors,
              signer,
              say,
              onAnchored: () => this.#board.anchored(),
              mayWrite: () => !job.lossAccepted,
            }),
          ]),
    ]
  }
}
