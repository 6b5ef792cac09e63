/** A copy was promoted while a job goes on with the store of before: it ends, and nothing more counts as durable there. */
import type { TidemarkError } from '../../core/errors.ts'

export class Superseded {
  readonly #over = new AbortController()
  #error: TidemarkError | undefined

  get signal(): AbortSignal {
    return this.#over.signal
  }

  readonly tell = (error: TidemarkError): void => {
    this.#error ??= error
    this.#over.abort(new DOMException('another store is the primary one', 'AbortError'))
  }

  /** @throws TidemarkError STORE_SUPERSEDED */
  throwIfTold(): void {
    if (this.#error !== undefined) throw this.#error
  }
}
