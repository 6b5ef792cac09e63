/**
 * Small questions to the source over one connection, one after the other: what one asks in several queries is not mixed with
 * another's. The connection is made again after a failure.
 */
import type pg from 'pg'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { deferred } from '../../../core/running-state.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { backendOf, connect, connectionError, sqlState } from '../session/session.ts'
import { watchSilence } from '../session/silence.ts'

export class SourceQuestions {
  readonly #url: string
  readonly #clock: Clock
  #connection: SharedConnection | undefined
  /** Resolves when the last question that was asked has its answer. */
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  /** Who waited for its turn meanwhile hears the same: an outage is waited for once, not by each of them in turn. */
  #outage: { readonly error: TidemarkError } | undefined

  constructor(options: { readonly url: string; readonly clock: Clock }) {
    this.#url = options.url
    this.#clock = options.clock
  }

  /** @throws TidemarkError SOURCE_UNREACHABLE (also where too many wait) and what the question's answer is */
  async ask<T>(question: (client: pg.Client) => Promise<T>): Promise<T> {
    if (this.#waiting >= LIMITS.waitingQuestions)
      throw new TidemarkError(
        'SOURCE_UNREACHABLE',
        `the source has not answered ${this.#waiting} questions yet`,
      )
    const outage = this.#outage
    const before = this.#turn
    const mine = deferred<void>()
    this.#turn = mine.promise
    this.#waiting++
    try {
      await before
      if (this.#outage !== undefined && this.#outage !== outage) throw this.#outage.error
      return await this.#ask(question)
    } finally {
      this.#waiting--
      mine.resolve()
    }
  }

  /** What is asked now fails, and what waits. */
  async close(): Promise<void> {
    this.#outage = { error: new TidemarkError('SOURCE_UNREACHABLE', 'the connection was closed') }
    const connection = this.#connection
    this.#connection = undefined
    await connection?.end()
  }

  async #ask<T>(question: (client: pg.Client) => Promise<T>): Promise<T> {
    const connection = (this.#connection ??= openConnection(this.#url))
    let client: pg.Client
    try {
      client = await connection.made
    } catch (error) {
      this.#forget(connection)
      const known = connectionError(error, 'source')
      this.#outage = { error: known }
      throw known
    }
    const over = new AbortController()
    const { socket, processId } = backendOf(client)
    let dead: TidemarkError | undefined
    void watchSilence(
      {
        url: this.#url,
        clock: this.#clock,
        pid: processId,
        heard: () => socket.bytesRead,
        onDead: (error) => {
          dead = error
          socket.destroy()
        },
      },
      over.signal,
    )
    try {
      return await askedAgain(() => question(client))
    } catch (error) {
      this.#forget(connection)
      await connection.end()
      const known = dead ?? connectionError(error, 'source')
      if (dead !== undefined) this.#outage = { error: known }
      throw known
    } finally {
      over.abort(new DOMException('over', 'AbortError'))
    }
  }

  #forget(connection: SharedConnection): void {
    if (this.#connection === connection) this.#connection = undefined
  }
}

interface SharedConnection {
  readonly made: Promise<pg.Client>
  /** Also while it is being made. */
  end(): Promise<void>
}

function openConnection(url: string): SharedConnection {
  const unwanted = new AbortController()
  let isMade = false
  const made = connect({ url, applicationName: APPLICATION_NAME, role: 'source', signal: unwanted.signal })
  const known = made.then(
    (client) => {
      isMade = true
      return client
    },
    () => undefined,
  )
  return {
    made,
    async end() {
      if (!isMade) unwanted.abort(new DOMException('closed', 'AbortError'))
      await (await known)?.end().catch(() => undefined)
    },
  }
}

/** What others drop while it is asked about is no answer: the same question again, a limited number of times. */
async function askedAgain<T>(ask: () => Promise<T>): Promise<T> {
  for (let left = 20; ; left--) {
    try {
      return await ask()
    } catch (error) {
      const state = sqlState(error)
      if (left <= 0 || state === undefined || !['XX000', '42P01', '42704', '3F000'].includes(state))
        throw error
    }
  }
}
