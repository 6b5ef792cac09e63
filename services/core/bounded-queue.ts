/**
 * A queue with a byte limit between one producer and one consumer; a failure of either side ends both. What the consumer
 * has in its hands counts until it asks for more, so that two large items are never worked on at once.
 */
import { type Deferred, deferred } from './running-state.ts'

export class BoundedQueue<T> {
  #items: (T | undefined)[] = []
  #head = 0
  #bytes = 0
  #ended: { readonly error: unknown } | boolean = false
  #failure: { readonly error: unknown } | undefined
  #room: Deferred<void> | undefined
  #more: Deferred<void> | undefined
  readonly #limitBytes: number
  readonly #bytesOf: (item: T) => number
  /** Called when a full queue has room again, for producers that cannot wait (sockets). */
  onRoom: (() => void) | undefined

  constructor(limitBytes: number, sizeOf: (item: T) => number) {
    this.#limitBytes = limitBytes
    this.#bytesOf = sizeOf
  }

  get bytes(): number {
    return this.#bytes
  }

  get isFull(): boolean {
    return this.#bytes > this.#limitBytes
  }

  /** Takes the item whatever the fill; false says that the producer must now wait for room. */
  push(item: T): boolean {
    if (this.#failure !== undefined) throw this.#failure.error
    this.#items.push(item)
    this.#bytes += this.#bytesOf(item)
    this.#more?.resolve()
    this.#more = undefined
    return !this.isFull
  }

  /** Resolves when there is room; rejects with the failure or the signal's reason. */
  async room(signal: AbortSignal): Promise<void> {
    while (this.isFull) {
      this.#room ??= deferred()
      await unlessAborted(this.#room.promise, signal)
      if (this.#failure !== undefined) throw this.#failure.error
    }
  }

  /** Behind what is in it. @param error what the consumer gets then, in the place of an end */
  end(error?: unknown): void {
    this.#ended = error === undefined ? true : { error }
    this.#more?.resolve()
    this.#more = undefined
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#more?.resolve()
    this.#room?.resolve()
    this.#more = undefined
    this.#room = undefined
  }

  async *read(signal: AbortSignal): AsyncIterable<T> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error
      const item = this.#items[this.#head]
      if (item === undefined) {
        if (typeof this.#ended === 'object') throw this.#ended.error
        if (this.#ended) return
        this.#more ??= deferred()
        await unlessAborted(this.#more.promise, signal)
        continue
      }
      this.#items[this.#head++] = undefined
      if (this.#head > 1024) {
        this.#items = this.#items.slice(this.#head)
        this.#head = 0
      }
      // Before it goes: what is large is given back by whoever works on it.
      const bytes = this.#bytesOf(item)
      yield item
      this.#taken(bytes)
    }
  }

  #taken(bytes: number): void {
    const wasFull = this.isFull
    this.#bytes -= bytes
    if (this.#bytes > this.#limitBytes / 2 && (!wasFull || this.isFull)) return
    this.#room?.resolve()
    this.#room = undefined
    this.onRoom?.()
  }
}

/** Waits for the promise, or rejects with the signal's reason. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw signal.reason
  const stop = Promise.withResolvers<never>()
  const onAbort = (): void => stop.reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, stop.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
