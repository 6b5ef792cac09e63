/** Tasks side by side, so many and so many bytes at once. The first failure is thrown to whoever gives the next task, or waits for all. */
export class SideBySide {
  readonly #most: number
  readonly #mostBytes: number
  readonly #running = new Set<Promise<void>>()
  #bytes = 0
  #failure: { readonly error: unknown } | undefined

  constructor(most: number, mostBytes: number) {
    this.#most = most
    this.#mostBytes = mostBytes
  }

  /** Resolves when the task has begun; one that is larger than the limit runs alone. */
  async begin(bytes: number, task: () => Promise<void>): Promise<void> {
    while (
      this.#running.size > 0 &&
      (this.#running.size >= this.#most || this.#bytes + bytes > this.#mostBytes)
    )
      await Promise.race(this.#running)
    this.#throwFailure()
    this.#bytes += bytes
    const running: Promise<void> = task()
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => {
        this.#bytes -= bytes
        this.#running.delete(running)
      })
    this.#running.add(running)
  }

  async all(): Promise<void> {
    await Promise.all(this.#running)
    this.#throwFailure()
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
