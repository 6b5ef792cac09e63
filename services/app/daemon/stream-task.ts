/**
 * The stream, tried until it is done: what has to be set right before an attempt, and what its failure means. A slot that is lost begins a new
 * generation, a change log with a hole begins anew, outages are waited out; all else only a person can mend.
 */
import { streamTrouble } from '../../core/error-codes.ts'
import { TidemarkError } from '../../core/errors.ts'
import { isOutage } from '../../core/retry.ts'
import type { Position } from '../../core/position.ts'
import { endingOf, replaceGeneration, unfinishedReplacement } from '../operations/generation.ts'
import { openSource } from '../wiring/compose.ts'
import { compactTogether } from './compact-together.ts'
import type { Job } from './job.ts'
import { LogHoles, lostLog } from './log-anew.ts'
import { stream } from './stream.ts'
import type { Running, Task, Verdict } from './supervisor.ts'

/** A rotated key is in the ledger first, and in the folder a moment later: so often it is looked for, within seven seconds. */
const SIGNER_LOOKS = 5

/** A generation that is to be begun. */
interface Fresh {
  readonly reason: string
  /** Where the old one's hole begins; its end where it is not said. */
  readonly from?: Position | undefined
  /** Somebody said so, rather than an error. */
  readonly isChosen: boolean
}

export class StreamTask implements Task {
  readonly name = 'stream'
  readonly drains = true
  readonly isMain = true
  readonly #job: Job
  readonly #holes: LogHoles
  #fresh: Fresh | undefined
  #isBeginning = false
  /** Looks for a newer signing key, in a row. */
  #looks = 0

  /** @param newGeneration why one is begun, where somebody wants that */
  constructor(job: Job, newGeneration: string | undefined) {
    this.#job = job
    this.#holes = new LogHoles(job.repository, job.config, job.role)
    if (newGeneration !== undefined) this.#fresh = { reason: newGeneration, isChosen: true }
  }

  async run(running: Running): Promise<void> {
    const { catalog } = this.#job.repository
    let end: Position | undefined
    try {
      do {
        end = catalog.generation?.end
        this.#job.hasConnected = false
        this.#holes.look()
        await this.#prepare()
      } while ((await this.#attempt(running)) === 'again' && !running.draining.aborted)
    } finally {
      this.#job.connected = false
      // Of one that did not get that far it is another process's.
      if (this.#job.hasConnected && catalog.generation?.end !== end) running.gotOn()
    }
  }

  async failed(error: TidemarkError): Promise<Verdict> {
    const { repository, config } = this.#job
    if (error.code === 'SIGNER_REFUSED' && repository.isRetired) return this.#renewSigner()
    const ending = await endingOf(error, { repository, config })
    // Tried once in a row: of what stands in the way of a new generation a person has to hear.
    if (ending !== undefined && !this.#isBeginning) {
      this.#fresh = { ...ending, isChosen: false }
      return { meaning: 'at-once' }
    }
    if (this.#holes.take(error)) return { meaning: 'retried' }
    const lost = await lostLog(repository, config, error)
    if (typeof lost === 'string') {
      this.#fresh = { reason: lost, isChosen: false }
      return { meaning: 'at-once' }
    }
    return { meaning: isOutage(lost ?? error) ? 'retried' : 'ends', error: lost }
  }

  onPause({ code, message, next }: TidemarkError, inMs: number): void {
    // That the log begins anew is said once it does.
    if (code === 'LOG_HOLE') return
    this.#job.say({
      event: 'retry',
      code,
      message,
      inMs,
      ...(streamTrouble(code) === 'taken' || code === 'SIGNER_REFUSED' ? { next } : {}),
    })
  }

  /** The key was rotated: what was not durable comes again, and is signed with the new one. Where that is not here, a person has to bring it. */
  async #renewSigner(): Promise<Verdict> {
    const { repository, say } = this.#job
    if (!(await repository.renewSigner()))
      return { meaning: ++this.#looks <= SIGNER_LOOKS ? 'retried' : 'ends' }
    this.#looks = 0
    say({ event: 'signer', signer: repository.signer.id })
    return { meaning: 'at-once' }
  }

  /** What an earlier attempt, or a process before this one, left to be done. */
  async #prepare(): Promise<void> {
    const job = this.#job
    // A crash between the hole's entry and the new generation's: the old one must not go on behind its hole.
    if (job.duties.readsSource && this.#fresh === undefined) {
      const reason = await unfinishedReplacement(job.repository)
      if (reason !== undefined) this.#fresh = { reason, isChosen: false }
    }
    if (this.#fresh !== undefined) {
      this.#isBeginning = true
      await this.#begin(this.#fresh)
      this.#fresh = undefined
    }
    this.#isBeginning = false
    if (job.lossAccepted) {
      // Only now that the gap and the new generation stand in the ledger.
      await job.anchors?.discard()
      job.lossAccepted = false
    }
    const anew = await this.#holes.beginAnew()
    if (anew !== undefined) job.say({ event: 'log-anew', reason: anew })
  }

  async #begin({ reason, from, isChosen }: Fresh): Promise<void> {
    const job = this.#job
    const { repository } = job
    const { url, names } = job.config.source
    await job.claim()
    const generation = await replaceGeneration({ repository, url, names, reason, from, isChosen })
    job.say({ event: 'generation', generation, reason })
  }

  /** `again`: a new generation has begun elsewhere. */
  async #attempt(running: Running): Promise<'done' | 'again'> {
    const job = this.#job
    const { repository, config, say } = job
    await repository.ledger.refresh()
    const generation = repository.catalog.generation
    if (generation === undefined)
      throw new TidemarkError('NO_BASE', 'the ledger has no generation', { next: 'tidemark init' })
    if (!job.duties.readsSource)
      return compactTogether({
        config,
        repository,
        generation,
        policy: config.roll,
        say: (event) => {
          if (event.event === 'sharing') job.leads = event.leads
          say(event)
        },
        onPoint: job.onPoint,
        openLog: () => job.openLog(generation, running.signal, true),
        onConnected: (connected) => (job.connected = connected),
        onStreaming: () => job.streaming(generation),
        clock: job.clock,
        signal: running.signal,
        draining: running.draining,
      })
    const source = openSource(config, generation, (statements) =>
      say({ event: 'schema-differs', statements }),
    )
    job.source = source
    try {
      await stream(job, source, generation, running)
      return 'done'
    } finally {
      job.connected = false
      await source.close()
    }
  }
}
