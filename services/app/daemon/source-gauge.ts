/**
 * What the running job knows of its source: asked in the background, over the connection that the job has, so that
 * whoever asks about health never waits for the source.
 */
import { unlessAborted } from '../../core/bounded-queue.ts'
import type { Clock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Source } from '../../core/ports/source.ts'
import type { Position } from '../../core/position.ts'
import type { Task } from './supervisor.ts'

type Asked = Pick<Source, 'head' | 'moment' | 'held'>

export interface SourceReading {
  /** Newest WAL position of the server. */
  readonly head: Position
  /** What the source's clock is ahead of ours; it stamps commits. */
  readonly aheadMs: number
  /** Bytes of WAL that may still be written before the slot is lost; undefined without a limit. */
  readonly safeBytes: number | undefined
  /** Since the reading before; undefined for the first one. */
  readonly walBytesPerSecond: number | undefined
}

interface DatedReading extends SourceReading {
  readonly at: number
}

export class SourceGauge {
  readonly #clock: Clock
  #reading: DatedReading | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Undefined where the source does not answer, or has not for `trustMs`. */
  get reading(): SourceReading | undefined {
    const reading = this.#reading
    return reading !== undefined && this.#clock.elapsed() - reading.at <= LIMITS.sourceGauge.trustMs
      ? reading
      : undefined
  }

  /**
   * Asks from time to time, and ends at once even while the source says nothing.
   *
   * @param source undefined while there is no connection to it
   */
  task(source: () => Asked | undefined): Task {
    const { everyMs, firstMs } = LIMITS.sourceGauge
    // The rate needs two readings, which a start should not wait long for.
    let pauseMs: number = firstMs
    return {
      name: 'source gauge',
      due: { everyMs: () => pauseMs, reportedMs: everyMs },
      run: async ({ signal }) => {
        pauseMs = this.#reading === undefined ? firstMs : everyMs
        const asked = source()
        this.#reading =
          asked === undefined ? undefined : await unlessAborted(this.#read(asked, source), signal)
      },
      failed: ({ code }) => {
        this.#reading = undefined
        // Of the source's outage the stream tells; here there are no figures then. A mistake of ours ends the job like any other.
        return { meaning: code === 'INTERNAL' ? 'drains' : 'reported' }
      },
    }
  }

  async #read(source: Asked, current: () => Asked | undefined): Promise<DatedReading | undefined> {
    const before = this.#reading
    const head = await source.head()
    const at = this.#clock.elapsed()
    // A source that was closed meanwhile would open a connection again.
    if (current() !== source) return undefined
    const { time } = await source.moment()
    const aheadMs = Number(time / 1000n) - this.#clock.now()
    if (current() !== source) return undefined
    const held = await source.held()
    return {
      head,
      aheadMs,
      at,
      safeBytes: held?.safeBytes,
      walBytesPerSecond:
        before === undefined
          ? undefined
          : Math.max(0, Number(head - before.head) / ((at - before.at) / 1000)),
    }
  }
}
